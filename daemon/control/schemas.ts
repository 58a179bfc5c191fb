/**
 * The values of the control API: what a request may hold, what an answer holds. The OpenAPI document is made of them.
 * Names are in kebab-case, as QEMU's are; what is a key of the configuration has its name there. Sizes are in bytes.
 */
import { z } from 'zod'
import * as field from '../config-fields.js'
import { MAX_LUN, MAX_POLL_FACTOR, MAX_POLL_NS, MAX_QUEUES, MAX_TARGET } from '../config-schema.js'
import { MAX_CPU } from '../cpu-list.js'

const count = z.int().min(0)
const queueNumber = wholeNumber(0, MAX_QUEUES - 1).describe(
  'request queue, counted from 0 without the two fixed queues',
)
const tid = z.int().describe("the IOThread's kernel thread id")
const pollMaxNs = wholeNumber(0, MAX_POLL_NS).describe('longest busy-polling before sleeping, ns; 0: never')
const pollGrow = wholeNumber(0, MAX_POLL_FACTOR).describe('factor by which the polling time grows; 0: 2')
const pollShrink = wholeNumber(0, MAX_POLL_FACTOR).describe('divisor by which it shrinks; 0: to none at once')
const cpu = wholeNumber(0, MAX_CPU)

export const statusSchema = z
  .object({
    version: z.string(),
    node: z.string().describe('version of Node.js'),
    pid: z.int(),
    'uptime-seconds': z.number().min(0),
    ready: z.boolean().describe('the sockets can be connected to'),
    'stop-timeout-seconds': z.number().min(0).describe('time that I/O in flight is given at the end'),
    controllers: z.array(
      z.object({
        id: z.string(),
        address: z.string().describe('where front ends connect to'),
        connected: z.boolean().describe('a front end is connected'),
        queues: count.describe('request queues offered'),
        'started-queues': count.describe('request queues that a guest uses'),
      }),
    ),
  })
  .meta({ id: 'Status' })

export const stopSchema = z
  .object({
    'in-flight': z
      .boolean()
      .describe('I/O had not ended within the stop timeout: it is left to the inflight buffers of the front ends'),
  })
  .meta({ id: 'Stop' })

export const iothreadSchema = z
  .object({
    id: z.string(),
    tid,
    engine: z.string().describe('io_uring, or epoll where that is not to be had'),
    cpus: z.array(cpu).nullable().describe('CPUs that it may run on; null: any'),
    'poll-max-ns': pollMaxNs,
    'poll-grow': pollGrow,
    'poll-shrink': pollShrink,
    origin: z.enum(['configuration', 'control']).describe('what it comes from'),
    queues: z.array(z.object({ controller: z.string(), queue: queueNumber })).describe('what it serves'),
    counters: z
      .object({
        requests: count.describe('requests fetched, from whichever queue'),
        sleeps: count.describe('times that it went to sleep for want of work'),
        polls: count.describe('times that it polled before that'),
        'poll-hits': count.describe('and those in which that found work'),
      })
      .describe('since it was started'),
    heartbeat: z.object({
      answered: count.describe('times that it was asked for a sign of life and gave it'),
      missed: count.describe('times that it did not in time'),
      'age-seconds': z.number().min(0).nullable().describe('time since the last sign; null: none yet'),
    }),
  })
  .meta({ id: 'Iothread' })

export const newIothreadSchema = z
  .strictObject({
    id: field.name().optional().describe('absent: one is picked'),
    cpus: cpuList().optional().describe('CPUs that it may run on; absent: any'),
    'poll-max-ns': pollMaxNs.optional(),
    'poll-grow': pollGrow.optional(),
    'poll-shrink': pollShrink.optional(),
  })
  .meta({ id: 'NewIothread' })

export const queueSchema = z
  .object({
    controller: z.string(),
    queue: queueNumber,
    iothread: z.string().describe('the IOThread that serves it'),
    tid,
    started: z.boolean().describe('a guest uses it'),
    size: count.nullable().describe('descriptors of its ring; null: not started'),
    moves: count.describe('times that it was given to another IOThread'),
    counters: z
      .object({
        kicks: count.describe('notifications from the driver'),
        calls: count.describe('notifications to the driver'),
        batches: count.describe('passes over the ring that fetched something'),
        requests: count.describe('requests that have ended'),
        bytes: count.describe('data that they moved'),
        errors: count.describe('requests that ended with an error'),
        targetless: count.describe('requests to a target or LUN that is not there'),
        faults: count.describe('violations of the virtio specification'),
      })
      .describe('since the daemon was started'),
  })
  .meta({ id: 'Queue' })

export const attachSchema = z
  .strictObject({ iothread: field.name().describe('the IOThread that shall serve it') })
  .meta({ id: 'Attachment' })

export const queueMoveSchema = z
  .object({
    controller: z.string(),
    queue: queueNumber,
    from: z.string().describe('the IOThread that served it'),
    to: z.string().describe('the IOThread that serves it now'),
    'pause-ns': count.describe('time in which nobody served it; 0: it was not started, or did not move'),
  })
  .meta({ id: 'QueueMove' })

export const lunSchema = z
  .object({
    id: z.string(),
    driver: z.string(),
    path: z.string().nullable().describe('of the image; null: the driver has none'),
    size: count,
    'block-size': count,
    'read-only': z.boolean(),
    'write-fault': z.boolean().describe('a flush has failed: writes end with MEDIUM ERROR until this is cleared'),
    controllers: z
      .array(z.object({ controller: z.string(), target: count, lun: count, 'read-only': z.boolean() }))
      .describe('its places'),
  })
  .meta({ id: 'Lun' })

export const lunAttachmentSchema = z
  .strictObject({
    id: field.name().describe("name of the LUN, one of the daemon's configuration"),
    target: wholeNumber(0, MAX_TARGET).optional().describe('absent: 0'),
    lun: wholeNumber(0, MAX_LUN).optional().describe('absent: the lowest that is free at the target'),
    'read-only': z
      .boolean({ error: () => 'expected true or false' })
      .optional()
      .describe('true: the guest may not write to it; absent: as the LUN is'),
  })
  .meta({ id: 'LunAttachment' })

export const lunPlaceSchema = z
  .object({ controller: z.string(), id: z.string(), target: count, lun: count, 'read-only': z.boolean() })
  .meta({ id: 'LunPlace' })

export const lunSizeSchema = z
  .object({
    size: count.describe('bytes that are served now'),
    grown: z.boolean().describe('more than before'),
  })
  .meta({ id: 'LunSize' })

export const errorSchema = z
  .object({
    error: z.object({
      code: z
        .string()
        .describe("an errno's name as the vhost interfaces use it, or VUS_... for a fault of the request itself"),
      message: z.string(),
    }),
  })
  .meta({ id: 'Error' })

function cpuList() {
  const error = () => 'expected a list of CPU numbers'
  return z.array(cpu, { error }).min(1, { error })
}

/** A number and nothing that only looks like one: JSON has numbers. */
function wholeNumber(min: number, max: number) {
  const error = () => `expected a whole number from ${min} to ${max}`
  return z.int({ error }).min(min, { error }).max(max, { error })
}
