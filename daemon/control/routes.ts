/** The routes of the control API, as they are documented and checked. */
import { createRoute } from '@hono/zod-openapi'
import { z } from 'zod'
import * as schemas from './schemas.js'

const iothreadId = z.object({ id: z.string().describe('name of the IOThread') })
const lunId = z.object({ id: z.string().describe('name of the LUN') })
const controllerId = z.object({ id: z.string().describe('name of the controller') })
const controllerLun = z.object({
  id: z.string().describe('name of the controller'),
  lun: z.string().describe('name of the LUN'),
})
const queuePlace = z.object({
  id: z.string().describe('name of the controller'),
  n: z
    .string()
    .regex(/^\d{1,9}$/, { error: () => 'expected the number of a request queue' })
    .transform(Number)
    .meta({ type: 'integer', description: 'request queue, counted from 0' }),
})

export const getStatus = createRoute({
  method: 'get',
  path: '/v1/status',
  summary: 'The daemon, and who is connected to it',
  responses: { 200: answer(schemas.statusSchema), default: refusal() },
})

export const stop = createRoute({
  method: 'post',
  path: '/v1/stop',
  summary: 'End the daemon, as SIGTERM does',
  description: `It fetches nothing more, lets I/O in flight end within its stop timeout, and ends its connections. The answer comes when
that is done, right before the process exits; a daemon that is killed before that gives none.
Refusals: EAGAIN (it is still starting), ESHUTDOWN (it is stopping already).`,
  responses: { 200: answer(schemas.stopSchema, 'It serves nothing any more'), default: refusal() },
})

export const listIothreads = createRoute({
  method: 'get',
  path: '/v1/iothreads',
  summary: 'All IOThreads, with what they serve',
  responses: { 200: answer(z.array(schemas.iothreadSchema)), default: refusal() },
})

export const addIothread = createRoute({
  method: 'post',
  path: '/v1/iothreads',
  summary: 'Start an IOThread',
  description: `It serves nothing until a queue is given to it (vhost: NEW_WORKER).
Refusals: EEXIST (the id is taken), EINVAL (it cannot run on these CPUs), EAGAIN (the system gives no thread).`,
  request: { body: body(schemas.newIothreadSchema) },
  responses: { 201: answer(schemas.iothreadSchema, 'It runs'), default: refusal() },
})

export const getIothread = createRoute({
  method: 'get',
  path: '/v1/iothreads/{id}',
  summary: 'One IOThread',
  description: 'Refusal: ENODEV (no such IOThread).',
  request: { params: iothreadId },
  responses: { 200: answer(schemas.iothreadSchema), default: refusal() },
})

export const freeIothread = createRoute({
  method: 'delete',
  path: '/v1/iothreads/{id}',
  summary: 'End an IOThread that serves nothing',
  description: 'vhost: FREE_WORKER. Refusals: ENODEV (no such IOThread), EBUSY (it serves queues).',
  request: { params: iothreadId },
  responses: { 204: { description: 'It has ended' }, default: refusal() },
})

export const listQueues = createRoute({
  method: 'get',
  path: '/v1/queues',
  summary: 'The request queues of all controllers',
  responses: { 200: answer(z.array(schemas.queueSchema)), default: refusal() },
})

export const getQueue = createRoute({
  method: 'get',
  path: '/v1/controllers/{id}/queues/{n}',
  summary: 'One request queue, and the IOThread that serves it',
  description: 'vhost: GET_VRING_WORKER. Refusals: ENOENT (no such controller), ENOBUFS (no such queue).',
  request: { params: queuePlace },
  responses: { 200: answer(schemas.queueSchema), default: refusal() },
})

export const attachQueue = createRoute({
  method: 'put',
  path: '/v1/controllers/{id}/queues/{n}',
  summary: 'Give a request queue to another IOThread, while I/O runs',
  description: `vhost: ATTACH_VRING_WORKER. The old IOThread ends what it has fetched, then the new one goes on.
Refusals: ENOENT (no such controller), ENOBUFS (no such queue), ENODEV (no such IOThread).`,
  request: { params: queuePlace, body: body(schemas.attachSchema) },
  responses: { 200: answer(schemas.queueMoveSchema, 'The IOThread serves it'), default: refusal() },
})

export const listLuns = createRoute({
  method: 'get',
  path: '/v1/luns',
  summary: 'All LUNs and their places',
  responses: { 200: answer(z.array(schemas.lunSchema)), default: refusal() },
})

export const clearFault = createRoute({
  method: 'post',
  path: '/v1/luns/{id}/clear-fault',
  summary: 'Let a LUN be written to again after a failed flush',
  description: `What was written before the flush may be lost: this says that whoever needs to know it knows.
No error where there is no such fault. Refusal: ENOENT (no such LUN).`,
  request: { params: lunId },
  responses: { 204: { description: 'There is no fault any more' }, default: refusal() },
})

export const refreshLun = createRoute({
  method: 'post',
  path: '/v1/luns/{id}/refresh',
  summary: "Look at the size of a LUN's image anew",
  description: `An image that has grown is served in its new size, and the guests are told.
Refusals: ENOENT (no such LUN), ENOTSUP (a disk of this kind has a fixed size), EINVAL (the image has shrunk or is empty),
EIO (it cannot be looked at).`,
  request: { params: lunId },
  responses: { 200: answer(schemas.lunSizeSchema, 'The size that is served now'), default: refusal() },
})

export const attachLun = createRoute({
  method: 'post',
  path: '/v1/controllers/{id}/luns',
  summary: 'Give a LUN to a controller, while its guest runs',
  description: `The guest is told by an event and by unit attentions. Its queues stand still for a moment.
Refusals: ENOENT (no such controller or LUN), EEXIST (the controller has it, or the address is taken), EBUSY (another
controller or process writes to it), EINVAL (no LUN number is free).`,
  request: { params: controllerId, body: body(schemas.lunAttachmentSchema) },
  responses: { 201: answer(schemas.lunPlaceSchema, 'The guest has it there'), default: refusal() },
})

export const detachLun = createRoute({
  method: 'delete',
  path: '/v1/controllers/{id}/luns/{lun}',
  summary: 'Take a LUN away from a controller, while its guest runs',
  description: `What is in flight ends first; the guest is told by an event and by unit attentions.
Refusal: ENOENT (no such controller, or it has no such LUN).`,
  request: { params: controllerLun },
  responses: { 204: { description: 'The guest has it no more' }, default: refusal() },
})

function json<T extends z.ZodType>(schema: T) {
  return { 'application/json': { schema } }
}

function body<T extends z.ZodType>(schema: T) {
  return { required: true, content: json(schema) }
}

function answer<T extends z.ZodType>(schema: T, description = 'What there is') {
  return { description, content: json(schema) }
}

function refusal() {
  return { description: 'It was not done', content: json(schemas.errorSchema) }
}
