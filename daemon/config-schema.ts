/**
 * The configuration as people write it: one schema for the config file and for the flags, which produce the same
 * structure piece by piece. Key names are those of the command line.
 */
import { z } from 'zod'
import { MappingError, parseMapping } from '../iothreads/queue-mapping.js'
import * as field from './config-fields.js'
import { MAX_CPU, parseCpuList } from './cpu-list.js'
import { type ListenAddress, LOG_FORMATS, LOG_LEVELS } from './daemon-config.js'
import { parseListenAddress } from './listen-address.js'

/** 8-bit ring index in SET_VRING_*, two fixed queues (vhost-user.rst). */
export const MAX_QUEUES = 254
export const MAX_TARGET = 255
/** Flat-space addressing (SAM-5 4.7.7.3). */
export const MAX_LUN = 16383

/** Longest polling time of an IOThread, ns. */
export const MAX_POLL_NS = 1_000_000_000
export const MAX_POLL_FACTOR = 1024

const cpuList = z
  .union(
    [
      z.string().transform((value, context) => {
        const cpus = parseCpuList(value)
        if (cpus !== undefined) return cpus
        context.addIssue({ code: 'custom', message: expectedCpus() })
        return z.NEVER
      }),
      z.array(field.wholeNumber(0, MAX_CPU), { error: expectedCpus }).min(1, { error: expectedCpus }),
    ],
    { error: expectedCpus },
  )
  .transform((cpus) => [...new Set(cpus)].sort((a, b) => a - b))

export const iothreadSchema = z.strictObject({
  id: field.name(),
  cpus: cpuList.optional(),
  'poll-max-ns': field.wholeNumber(0, MAX_POLL_NS).optional(),
  'poll-grow': field.wholeNumber(0, MAX_POLL_FACTOR).optional(),
  'poll-shrink': field.wholeNumber(0, MAX_POLL_FACTOR).optional(),
})
export type IothreadSettings = z.output<typeof iothreadSchema>

const THROTTLE_KEYS = ['iops-total', 'iops-read', 'iops-write', 'bps-total', 'bps-read', 'bps-write'] as const
type ThrottleKey = (typeof THROTTLE_KEYS)[number]
const throttling = Object.fromEntries(
  THROTTLE_KEYS.flatMap((key) => [key, `${key}-max`]).map((key) => [key, field.unsupported().optional()]),
) as Record<ThrottleKey | `${ThrottleKey}-max`, z.ZodOptional<z.ZodNever>>

export const lunSchema = z.strictObject({
  id: field.name().optional(),
  target: field.wholeNumber(0, MAX_TARGET).optional(),
  lun: field.wholeNumber(0, MAX_LUN).optional(),
  driver: field.oneOfSupported(['file', 'memory', 'null', 'nbd'], ['file', 'memory', 'null']).optional(),
  path: field.text('the path of an image').optional(),
  size: field.size().optional(),
  uri: field.unsupported().optional(),
  'read-only': field.onOff().optional(),
  direct: field.offOnly().optional(),
  discard: field.oneOf(['unmap', 'ignore']).optional(),
  'block-size': field.oneOfNumbers([512, 4096]).optional(),
  'physical-block-size': field
    .size()
    .refine((bytes) => bytes >= 512 && bytes <= 2 ** 21 && Number.isInteger(Math.log2(bytes)), {
      error: () => 'expected a power of two from 512 to 2M',
    })
    .optional(),
  serial: field.printable(36).optional(),
  wwn: z
    .string({ error: expectedWwn })
    .regex(/^0x[0-9A-Fa-f]{16}$/, { error: expectedWwn })
    .transform((value) => value.slice(2).toLowerCase())
    .optional(),
  vendor: field.printable(8).optional(),
  product: field.printable(16).optional(),
  revision: field.printable(4).optional(),
  'rotation-rate': field
    .wholeNumber(0, 0xfffe)
    .refine((rate) => rate <= 1 || rate > 0x400, {
      error: () => 'expected 0 (not reported), 1 (non-rotating) or a rate from 1025 to 65534 rpm',
    })
    .optional(),
  removable: field.onOff().optional(),
  'write-cache': field.onOff().optional(),
  rerror: field.oneOfSupported(['report', 'ignore', 'stop'], ['report']).optional(),
  werror: field.oneOfSupported(['report', 'ignore', 'stop', 'enospc'], ['report']).optional(),
  locking: field.oneOf(['auto', 'off']).optional(),
  'share-rw': field.onOff().optional(),
  'space-threshold': field.size().optional(),
  'delay-us': field.wholeNumber(0, 60_000_000).optional(),
  'throttle-group': field.unsupported().optional(),
  ...throttling,
})
export type LunSettings = z.output<typeof lunSchema>

export const lunPlaceSchema = z.strictObject({
  id: field.name(),
  target: field.wholeNumber(0, MAX_TARGET).optional(),
  lun: field.wholeNumber(0, MAX_LUN).optional(),
  'read-only': field.onOff().optional(),
})
export type LunPlaceSettings = z.output<typeof lunPlaceSchema>

export const controllerSchema = z.strictObject({
  id: field.name().optional(),
  'socket-path': field.text('the path of a socket').optional(),
  fd: field.wholeNumber(0, 2 ** 31 - 1).optional(),
  'socket-mode': z
    .string({ error: expectedMode })
    .regex(/^0?[0-7]{3}$/, { error: expectedMode })
    .transform((value) => Number.parseInt(value, 8))
    .optional(),
  'socket-group': field.text('a group name or number').optional(),
  'num-queues': field.wholeNumber(1, MAX_QUEUES).optional(),
  iothread: field.name().optional(),
  'iothread-vq-mapping': z
    .unknown()
    .transform((value, context) => {
      try {
        return parseMapping(value)
      } catch (error) {
        if (!(error instanceof MappingError)) throw error
        context.addIssue({ code: 'custom', message: error.message })
        return z.NEVER
      }
    })
    .optional(),
  'worker-per-virtqueue': field.onOff().optional(),
  'config-space': field.onOff().optional(),
  luns: z.array(lunPlaceSchema, { error: expectedList }).optional(),
})
export type ControllerSettings = z.output<typeof controllerSchema>

const listenAddress = z.string({ error: expectedAddress }).transform((value, context): ListenAddress => {
  const address = parseListenAddress(value)
  if (address !== undefined) return address
  context.addIssue({ code: 'custom', message: expectedAddress() })
  return z.NEVER
})

export const metricsSchema = z.strictObject({ listen: listenAddress.optional() })
export const controlSchema = z.strictObject({ socket: field.text('the path of a socket').optional() })
export const logSchema = z.strictObject({
  level: field.oneOf(LOG_LEVELS).optional(),
  format: field.oneOf(LOG_FORMATS).optional(),
})

export const configSchema = z.strictObject({
  iothreads: z.array(iothreadSchema, { error: expectedList }).optional(),
  luns: z.array(lunSchema, { error: expectedList }).optional(),
  controllers: z.array(controllerSchema, { error: expectedList }).optional(),
  metrics: metricsSchema.optional(),
  control: controlSchema.optional(),
  log: logSchema.optional(),
  'stop-timeout': field.seconds(3600).optional(),
  'state-dir': field.text('the path of a directory').optional(),
  takeover: field.onOff().optional(),
})
/** The whole configuration, each value of the right type, nothing resolved yet. */
export type Settings = z.output<typeof configSchema>

function expectedCpus(): string {
  return `expected CPU numbers such as 0-3+6, up to ${MAX_CPU}`
}

function expectedWwn(): string {
  return 'expected 0x and 16 hex digits'
}

function expectedMode(): string {
  return 'expected permission bits in octal such as "0660"'
}

function expectedAddress(): string {
  return 'expected HOST:PORT, [IPV6]:PORT or unix:PATH'
}

function expectedList(): string {
  return 'expected a list'
}
