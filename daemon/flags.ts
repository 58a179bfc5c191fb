/**
 * The flags as a piece of configuration: the same structure as a config file, of which they may extend or override one.
 */
import { MappingError, parseMappingText } from '../iothreads/queue-mapping.js'
import {
  type ControllerSettings,
  configSchema,
  controllerSchema,
  controlSchema,
  logSchema,
  metricsSchema,
  type Settings,
} from './config-schema.js'
import { UsageError } from './errors.js'
import { parseIothreadOption } from './iothread-option.js'
import { parseLunOption } from './lun-option.js'
import { nameLuns } from './resolve-luns.js'
import { validate } from './validate.js'

/** Flags as given, by name without the dashes: text, or a list where a flag was repeated. */
export type Flags = Readonly<Record<string, unknown>>

const CONTROLLER_FLAGS = ['socket-path', 'fd', 'socket-mode', 'socket-group', 'num-queues'] as const

/** Checks each flag and joins them. Throws UsageError or ConfigError. */
export function settingsFromFlags(flags: Flags): Settings {
  const luns = repeated(flags, 'lun').map(parseLunOption)
  const iothreads = repeated(flags, 'iothread').map(parseIothreadOption)
  const controller = controllerFromFlags(flags)
  const listen = checkFlag(metricsSchema.shape.listen, flags, 'metrics-listen')
  const control = checkFlag(controlSchema.shape.socket, flags, 'control-socket')
  const level = checkFlag(logSchema.shape.level, flags, 'log-level')
  const format = checkFlag(logSchema.shape.format, flags, 'log-format')
  const stateDir = checkFlag(configSchema.shape['state-dir'], flags, 'state-dir')
  const stopTimeout = checkFlag(configSchema.shape['stop-timeout'], flags, 'stop-timeout')
  return {
    ...(luns.length > 0 && { luns }),
    ...(iothreads.length > 0 && { iothreads }),
    ...(Object.keys(controller).length > 0 && { controllers: [controller] }),
    ...(listen !== undefined && { metrics: { listen } }),
    ...(control !== undefined && { control: { socket: control } }),
    ...((level !== undefined || format !== undefined) && {
      log: { ...(level !== undefined && { level }), ...(format !== undefined && { format }) },
    }),
    ...(stateDir !== undefined && { 'state-dir': stateDir }),
    ...(stopTimeout !== undefined && { 'stop-timeout': stopTimeout }),
    ...(flags.takeover === true && { takeover: true }),
  }
}

/**
 * A file's configuration with the flags': lists grow, single values of flags win. Flags about a controller mean the
 * file's only one. Throws UsageError where the file has several.
 * @param file names the file in messages
 */
export function mergeSettings(base: Settings, flags: Settings, file: string): Settings {
  const own = flags.controllers?.[0]
  const controllers = base.controllers
  if (controllers !== undefined && controllers.length > 1 && (own !== undefined || flags.luns !== undefined)) {
    throw new UsageError(
      `${file} has ${controllers.length} controllers: flags for a controller or a LUN would mean none`,
    )
  }
  const luns = nameLuns([...(base.luns ?? []), ...(flags.luns ?? [])])
  const added = luns.slice(base.luns?.length ?? 0)
  const iothreads = [...(base.iothreads ?? []), ...(flags.iothreads ?? [])]
  return {
    ...base,
    ...flags,
    ...((base.luns ?? flags.luns) !== undefined && { luns }),
    iothreads,
    controllers:
      controllers?.length === 1 || own !== undefined ? [extend(controllers?.[0] ?? {}, own ?? {}, added)] : controllers,
    metrics: { ...base.metrics, ...flags.metrics },
    log: { ...base.log, ...flags.log },
  }
}

/** A choice made by a flag replaces the file's choice between the same things; LUNs are added to the access list. */
function extend(
  base: ControllerSettings,
  own: ControllerSettings,
  added: readonly { id: string }[],
): ControllerSettings {
  const rest = { ...base }
  if (own.fd !== undefined || own['socket-path'] !== undefined) {
    delete rest.fd
    delete rest['socket-path']
  }
  if (own['iothread-vq-mapping'] !== undefined || own['worker-per-virtqueue'] !== undefined) {
    delete rest.iothread
    delete rest['iothread-vq-mapping']
    delete rest['worker-per-virtqueue']
  }
  if (rest.luns !== undefined) rest.luns = [...rest.luns, ...added.map(({ id }) => ({ id }))]
  return { ...rest, ...own }
}

function controllerFromFlags(flags: Flags): ControllerSettings {
  if (flags['socket-path'] !== undefined && flags.fd !== undefined) {
    throw new UsageError('--socket-path and --fd cannot be given at the same time')
  }
  if (flags.takeover === true && flags.fd !== undefined) {
    throw new UsageError('--takeover and --fd cannot be given at the same time')
  }
  const values: Record<string, unknown> = {}
  for (const flag of CONTROLLER_FLAGS) {
    const value = checkFlag(controllerSchema.shape[flag], flags, flag)
    if (value !== undefined) values[flag] = value
  }
  const mapping = mappingFromFlags(flags)
  return {
    ...(values as Pick<ControllerSettings, (typeof CONTROLLER_FLAGS)[number]>),
    ...(mapping !== undefined && { 'iothread-vq-mapping': mapping }),
    ...(flags['worker-per-virtqueue'] === true && { 'worker-per-virtqueue': true }),
  }
}

function mappingFromFlags(flags: Flags): ControllerSettings['iothread-vq-mapping'] {
  const text = single(flags, 'iothread-vq-mapping')
  if (text === undefined) return undefined
  try {
    return parseMappingText(String(text))
  } catch (error) {
    if (error instanceof MappingError) throw new UsageError(`--iothread-vq-mapping: ${error.message}`)
    throw error
  }
}

function checkFlag<T extends Parameters<typeof validate>[0]>(schema: T, flags: Flags, flag: string) {
  const value = single(flags, flag)
  return value === undefined ? undefined : validate(schema, value, `--${flag}`)
}

function single(flags: Flags, flag: string): unknown {
  const value = flags[flag]
  if (Array.isArray(value)) throw new UsageError(`--${flag} is given ${value.length} times`)
  return value
}

function repeated(flags: Flags, flag: string): string[] {
  const value = flags[flag]
  if (value === undefined) return []
  return (Array.isArray(value) ? value : [value]).map(String)
}
