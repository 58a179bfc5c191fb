/** The control API as a function from request to answer: the routes tied to the daemon. Knows no sockets. */
import { OpenAPIHono } from '@hono/zod-openapi'
import type { Context } from 'hono'
import { HTTPException } from 'hono/http-exception'
import type { ContentfulStatusCode } from 'hono/utils/http-status'
import { z } from 'zod'
import { oneLine } from '../errors.js'
import type { Log } from '../log.js'
import { Serial } from '../serial.js'
import { describeIssue } from '../validate.js'
import { openApiDocument } from './openapi.js'
import * as routes from './routes.js'
import { attachSchema, lunAttachmentSchema, newIothreadSchema } from './schemas.js'
import { ControlError, type ControlTarget, REFUSALS } from './target.js'

/** Bytes that the body of a request may have. */
export const MAX_BODY_BYTES = 16 * 1024

export const INTERNAL_FAULT = 'a fault of the daemon, which its log describes'

/** Codes of faults of a request itself, by their HTTP status. */
const REQUEST_FAULTS: Readonly<Record<number, string>> = { 400: 'VUS_BODY', 415: 'VUS_MEDIA_TYPE' }

export function createApp(target: ControlTarget, log: Log): OpenAPIHono {
  const changes = new Serial()
  const app = new OpenAPIHono({ defaultHook: refuseInvalid(z.unknown()) })

  app.use(async (c, next) => {
    await next()
    if (c.req.method !== 'GET') log.debug({ status: c.res.status }, oneLine(`control: ${c.req.method} ${c.req.path}`))
  })
  app.use(async (c, next) => checkLength(c) ?? next())

  app.openapi(routes.getStatus, (c) => c.json(target.status(), 200))
  app.openapi(routes.stop, async (c) => {
    const stopped = await target.stop()
    c.header('Connection', 'close')
    return c.json(stopped, 200)
  })
  app.openapi(routes.listIothreads, (c) => c.json(target.iothreads(), 200))
  app.openapi(
    routes.addIothread,
    async (c) => {
      const settings = c.req.valid('json')
      return c.json(await changes.run(() => target.addIothread(settings)), 201)
    },
    refuseInvalid(newIothreadSchema),
  )
  app.openapi(routes.getIothread, (c) => {
    const { id } = c.req.valid('param')
    const found = target.iothreads().find((iothread) => iothread.id === id)
    if (found === undefined) throw new ControlError('ENODEV', `there is no IOThread "${id}"`)
    return c.json(found, 200)
  })
  app.openapi(routes.freeIothread, async (c) => {
    const { id } = c.req.valid('param')
    await changes.run(() => target.freeIothread(id))
    return c.body(null, 204)
  })
  app.openapi(routes.listQueues, (c) => c.json(target.queues(), 200))
  app.openapi(routes.getQueue, (c) => {
    const { id, n } = c.req.valid('param')
    return c.json(target.queue(id, n), 200)
  })
  app.openapi(
    routes.attachQueue,
    async (c) => {
      const { id, n } = c.req.valid('param')
      const { iothread } = c.req.valid('json')
      return c.json(await changes.run(() => target.attachQueue(id, n, iothread)), 200)
    },
    refuseInvalid(attachSchema),
  )
  app.openapi(routes.listLuns, (c) => c.json(target.luns(), 200))
  app.openapi(routes.clearFault, async (c) => {
    await target.clearFault(c.req.valid('param').id)
    return c.body(null, 204)
  })
  app.openapi(routes.refreshLun, async (c) => c.json(await target.refreshLun(c.req.valid('param').id), 200))
  app.openapi(
    routes.attachLun,
    async (c) => {
      const { id } = c.req.valid('param')
      const attachment = c.req.valid('json')
      return c.json(await changes.run(() => target.attachLun(id, attachment)), 201)
    },
    refuseInvalid(lunAttachmentSchema),
  )
  app.openapi(routes.detachLun, async (c) => {
    const { id, lun } = c.req.valid('param')
    await changes.run(() => target.detachLun(id, lun))
    return c.body(null, 204)
  })
  app.get('/openapi.json', (c) => c.json(openApiDocument(app)))

  refuseOtherMethods(app)
  app.notFound((c) =>
    fault(c, 404, 'VUS_NOT_FOUND', `there is no ${c.req.path}: GET /openapi.json tells what there is`),
  )
  app.onError((error, c) => {
    if (error instanceof ControlError) return fault(c, REFUSALS[error.code], error.code, error.message)
    if (error instanceof HTTPException)
      return fault(
        c,
        error.status as ContentfulStatusCode,
        REQUEST_FAULTS[error.status] ?? 'VUS_REQUEST',
        error.message,
      )
    log.error({ err: error }, oneLine(`control: ${c.req.method} ${c.req.path} failed`))
    return fault(c, 500, 'VUS_INTERNAL', INTERNAL_FAULT)
  })
  return app
}

/** Refuses a body whose length is too large or not told: what has been let in is read as a whole. */
function checkLength(c: Context): Response | undefined {
  if (c.req.header('transfer-encoding') !== undefined) return fault(c, 411, 'VUS_BODY', 'a body needs a Content-Length')
  if (Number(c.req.header('content-length') ?? 0) > MAX_BODY_BYTES)
    return fault(c, 413, 'VUS_BODY', `a body may have ${MAX_BODY_BYTES} bytes`)
  return undefined
}

/** Answers what does not fit its schema: where, what was expected, what was given. */
function refuseInvalid(schema: z.ZodType) {
  return (result: { success: boolean; target: string; error?: z.core.$ZodError; data?: unknown }, c: Context) => {
    if (result.error === undefined) return undefined
    const where = result.target === 'json' ? 'body' : 'path'
    const faults = result.error.issues.flatMap((issue) => describeIssue(issue, schema, result.data, where))
    return fault(c, 400, 'EINVAL', faults.join('; '))
  }
}

/** Tells which methods a path has. To be called when all routes are known. */
function refuseOtherMethods(app: OpenAPIHono): void {
  const methods = new Map<string, string[]>()
  for (const { path, method } of app.routes) {
    if (method !== 'ALL') methods.set(path, [...(methods.get(path) ?? []), method])
  }
  for (const [path, known] of methods) {
    const allow = [...new Set(known)].flatMap((method) => (method === 'GET' ? ['GET', 'HEAD'] : [method])).join(', ')
    app.all(path, (c) => {
      c.header('Allow', allow)
      return fault(c, 405, 'VUS_METHOD', `${c.req.method} is not for ${c.req.path}, expected ${allow}`)
    })
  }
}

function fault<S extends ContentfulStatusCode>(c: Context, status: S, code: string, message: string) {
  return c.json({ error: { code, message } }, status)
}
