/**
 * From the configuration as people write it to the one that the daemon runs by.
 */
import { availableParallelism } from 'node:os'
import type { IothreadSettings, Settings } from './config-schema.js'
import type { ControllerConfig, DaemonConfig, IothreadConfig } from './daemon-config.js'
import { ConfigError } from './errors.js'
import { type NamedController, nameControllers, resolveControllers, workerIds } from './resolve-controllers.js'
import { nameLuns, resolveLuns } from './resolve-luns.js'
import { socketPathFault } from './socket-path.js'

/** QEMU's defaults for iothread objects (qapi/qom.json IothreadProperties). */
const POLL_MAX_NS = 32768
const MAX_DEFAULT_IOTHREADS = 4
const STOP_TIMEOUT_SECONDS = 10

/** What the configuration depends on beside itself; for tests. */
export interface Host {
  /** CPUs that the process may use. */
  readonly cpus: number
}

/**
 * Resolves references, looks at images and fills in defaults. Throws ConfigError with every fault found. With no `luns`
 * key at all one memory LUN is served; with no `controllers` one on the default socket.
 */
export function resolveConfig(settings: Settings, host: Host = { cpus: availableParallelism() }): DaemonConfig {
  const faults: string[] = []
  const lunSettings = nameLuns(settings.luns ?? [{ driver: 'memory' }])
  const luns = resolveLuns(lunSettings, faults)
  const named = nameControllers(settings.controllers ?? [{}])
  if (named.length === 0) faults.push('controllers: expected at least one')
  const shared = sharedIothreads(settings.iothreads ?? [], named, host, faults)
  const iothreads = resolveIothreads([...shared, ...named.flatMap(workerIds).map((id) => ({ id }))], faults)
  const scope = {
    iothreadIds: iothreads.map(({ id }) => id),
    sharedIothreadIds: [...new Set(shared.map(({ id }) => id))],
    luns,
    lunSettings,
  }
  const controllers = resolveControllers(named, scope, faults)
  const controlSocket = resolveControl(settings.control, controllers, faults)
  if (settings.takeover === true) checkTakeover(controllers, controlSocket, faults)
  if (faults.length > 0) throw new ConfigError(faults)
  return {
    iothreads,
    luns,
    controllers,
    ...(settings.metrics?.listen !== undefined && { metricsListen: settings.metrics.listen }),
    ...(controlSocket !== undefined && { controlSocket }),
    stopTimeoutSeconds: settings['stop-timeout'] ?? STOP_TIMEOUT_SECONDS,
    ...(settings['state-dir'] !== undefined && { stateDir: settings['state-dir'] }),
    ...(settings.takeover === true && { takeover: true }),
    logLevel: settings.log?.level ?? 'info',
    logFormat: settings.log?.format ?? 'text',
  }
}

/**
 * The configured IOThreads, or min(4, CPUs) where there are none; those that worker-per-virtqueue makes belong to their
 * queues and come beside them.
 */
function sharedIothreads(
  configured: readonly IothreadSettings[],
  controllers: readonly NamedController[],
  host: Host,
  faults: string[],
): readonly IothreadSettings[] {
  const isUsed = controllers.some((controller) => controller['worker-per-virtqueue'] !== true)
  if (configured.length > 0) {
    if (!isUsed) faults.push('worker-per-virtqueue makes an IOThread for each queue: no others can be used')
    return configured
  }
  const count = isUsed ? Math.max(1, Math.min(MAX_DEFAULT_IOTHREADS, host.cpus)) : 0
  return Array.from({ length: count }, (_, i) => ({ id: `io${i}` }))
}

function resolveIothreads(iothreads: readonly IothreadSettings[], faults: string[]): IothreadConfig[] {
  const ids = new Set<string>()
  return iothreads.map((settings) => {
    if (ids.has(settings.id)) faults.push(`IOThread id "${settings.id}" is used twice`)
    ids.add(settings.id)
    return { id: settings.id, ...resolveIothread(settings) }
  })
}

/** One IOThread but for its id: its settings with the defaults filled in. */
export function resolveIothread({ cpus, ...polling }: Omit<IothreadSettings, 'id'>): Omit<IothreadConfig, 'id'> {
  return {
    ...(cpus !== undefined && { cpus }),
    pollMaxNs: polling['poll-max-ns'] ?? POLL_MAX_NS,
    pollGrow: polling['poll-grow'] ?? 0,
    pollShrink: polling['poll-shrink'] ?? 0,
  }
}

/** Who takes over asks the daemon before through its control socket, and needs paths to take. */
function checkTakeover(
  controllers: readonly ControllerConfig[],
  controlSocket: string | undefined,
  faults: string[],
): void {
  if (controlSocket === undefined) faults.push('takeover: expected a control socket, the one of the daemon before')
  for (const { id, fd } of controllers) {
    if (fd !== undefined) faults.push(`takeover: controller "${id}": expected a socket path, not fd ${fd}`)
  }
}

function resolveControl(
  control: Settings['control'],
  controllers: readonly ControllerConfig[],
  faults: string[],
): string | undefined {
  const path = control?.socket
  if (path === undefined) return undefined
  const fault = socketPathFault(path)
  if (fault !== undefined) faults.push(`control: ${fault}`)
  const owner = controllers.find(({ socketPath }) => socketPath === path)
  if (owner !== undefined) faults.push(`control: ${path}: is the socket of controller "${owner.id}"`)
  return path
}
