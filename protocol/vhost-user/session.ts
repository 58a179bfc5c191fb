import { close } from 'memfd-mmap'
import { type BackendDevice, DeviceError } from './backend-device.js'
import { Connection } from './connection.js'
import { ProtocolError, RefusedError } from './errors.js'
import { VHOST_USER_PROTOCOL_F } from './features.js'
import { deviceHandlers } from './handlers/device.js'
import { featureHandlers } from './handlers/features.js'
import { memoryHandlers } from './handlers/memory.js'
import { migrationHandlers } from './handlers/migration.js'
import { vringHandlers } from './handlers/vring.js'
import type { Message } from './message.js'
import type { MemoryRegion } from './messages/memory.js'
import { failingReply, isDispensable, NACK } from './refusals.js'
import { type ReportLevel, type SessionReporter, SILENT } from './reporter.js'
import { type RequestInfo, requestInfo, requestName } from './requests.js'
import { allSettled, type HandlerResult, type RequestHandler, SessionState } from './session-state.js'
import { u64Payload } from './u64.js'
import type { Vring } from './vring.js'

const HANDLERS: Readonly<Record<number, RequestHandler>> = {
  ...featureHandlers,
  ...memoryHandlers,
  ...vringHandlers,
  ...deviceHandlers,
  ...migrationHandlers,
}

export interface SessionOptions {
  report?: SessionReporter
}

/** How a session ended. `code`: VUS_PEER_CLOSED, VUS_LOCAL_CLOSE, VUS_INTERNAL, or that of the fault or refusal behind it. */
export interface SessionEnd {
  code: string
  message: string
}

/** A refusal that the front end would not learn of: the connection cannot go on. */
class FatalRefusal extends Error {
  readonly code: string

  constructor(code: string, message: string) {
    super(message)
    this.code = code
  }
}

/**
 * The back end's side of one connection: reads the front end's requests one after another, keeps the state that they set up and
 * drives the device. A request is answered or acknowledged when the device has carried it out, and only then is the next one
 * read. Whatever the front end sends, the worst outcome is the end of this connection.
 */
export class BackendSession {
  /** Settles (never rejects) when the connection is closed and the device has been told. */
  readonly closed: Promise<SessionEnd>
  readonly #connection: Connection
  readonly #state: SessionState
  readonly #report: SessionReporter
  readonly #reported = new Set<string>()
  #resolveClosed: (end: SessionEnd) => void = () => {}
  #ending = false
  #work: Promise<void> = Promise.resolve()

  /**
   * @param connection a connected socket, or a Connection that was not started; it is taken over unless this throws
   * @throws {RangeError} when the device offers what no session can do
   * @throws {SystemError} when the descriptor cannot be polled
   */
  constructor(connection: Connection | number, device: BackendDevice, options: SessionOptions = {}) {
    const report = options.report ?? SILENT
    this.#report = { event: (...event) => reportSafely(report, event) }
    this.#state = new SessionState(device, this.#report)
    this.#connection =
      typeof connection === 'number' ? new Connection(connection, { direction: 'requests' }) : connection
    this.closed = new Promise((resolve) => {
      this.#resolveClosed = resolve
    })
    this.#connection.start({
      message: (message) => {
        this.#work = this.#serve(message)
        return this.#work
      },
      ended: (reason) => {
        this.#end(endOf(reason), reason)
      },
    })
  }

  /** The virtio features in force. */
  get features(): bigint {
    return this.#state.features
  }

  get protocolFeatures(): bigint {
    return this.#state.protocolFeatures
  }

  get regions(): readonly MemoryRegion[] {
    return this.#state.memory.regions
  }

  /** The rings' states, for display. Only the session changes them. */
  get rings(): readonly Readonly<Pick<Vring, 'index' | 'size' | 'base' | 'started' | 'enabled' | 'active'>>[] {
    return this.#state.rings
  }

  /** Ends the connection from this side, after the request at hand. The same promise as `closed`. */
  close(): Promise<SessionEnd> {
    this.#connection.stop()
    this.#end({ code: 'VUS_LOCAL_CLOSE', message: 'closed' }, undefined)
    return this.closed
  }

  async #serve(message: Message): Promise<void> {
    const info = requestInfo(message.request)
    const name = requestName(message.request)
    const fields = { request: name, size: message.bytes.length, fds: message.fds.length, needReply: message.needReply }
    this.#report.event('debug', 'VUS_MESSAGE', name, fields)
    try {
      this.#answer(message, await this.#carryOut(message, info))
    } catch (error) {
      if (!(error instanceof RefusedError || error instanceof DeviceError)) throw error
      this.#refuse(message, info, name, error)
    }
  }

  #answer(message: Message, result: HandlerResult): void {
    if (result === undefined) {
      this.#acknowledge(message, 0)
    } else if (result instanceof Uint8Array) {
      this.#connection.reply(message.request, result)
    } else {
      this.#connection.reply(message.request, result.payload, [result.fd])
      close(result.fd)
    }
  }

  #carryOut(message: Message, info: RequestInfo | undefined): ReturnType<RequestHandler> {
    if (info === undefined) throw new RefusedError('VUS_UNKNOWN_REQUEST', `${message.request}`)
    checkShape(message, info)
    const handler = HANDLERS[info.code]
    if (info.gate >= 0 && !this.#state.negotiated(info.gate)) throw new RefusedError('VUS_NOT_NEGOTIATED', info.name)
    if (handler === undefined) throw new RefusedError('VUS_UNSUPPORTED', info.name)
    return handler(this.#state, message)
  }

  /** Whether the front end was promised, and asked for, an acknowledgement. */
  #wantsAck(message: Message): boolean {
    return message.needReply && this.#state.negotiated(VHOST_USER_PROTOCOL_F.REPLY_ACK)
  }

  #acknowledge(message: Message, value: number): void {
    if (this.#wantsAck(message)) this.#connection.reply(message.request, u64Payload(value))
  }

  /** Says no: in the request's own reply, by a negative acknowledgement, in the log alone, or by ending the connection. */
  #refuse(message: Message, info: RequestInfo | undefined, name: string, error: RefusedError | DeviceError): void {
    const text = `${name}: ${error.message}`
    const own = failingReply(message)
    if (own !== undefined) this.#connection.reply(message.request, own)
    else if (info?.reply !== 'explicit' && this.#wantsAck(message)) this.#acknowledge(message, NACK)
    else if (!isDispensable(message.request, error.code)) throw new FatalRefusal(error.code, text)
    // A front end that goes on and on with it gets one line in the log.
    const seen = `${error.code} ${name}`
    this.#report.event(this.#reported.has(seen) ? 'debug' : 'warn', error.code, text, { request: name })
    this.#reported.add(seen)
  }

  #end(end: SessionEnd, reason: unknown): void {
    if (this.#ending) return
    this.#ending = true
    this.#tearDown(end, reason)
  }

  /** The socket closes last: a front end that reconnects must not find the rings of its last session still at work. */
  async #tearDown(end: SessionEnd, reason: unknown): Promise<void> {
    await this.#work.catch(() => {})
    // What a front end that has gone will not see need not be waited for.
    const discard = end.code !== 'VUS_LOCAL_CLOSE'
    await allSettled(this.#state.rings.map((ring) => ring.quit(discard))).catch((error) => this.#reportStuck(error))
    try {
      await this.#state.device.disconnect()
      for (const ring of this.#state.rings) ring.release()
    } catch (error) {
      this.#reportStuck(error)
    }
    this.#state.channel?.close()
    this.#connection.close()
    this.#report.event(levelOf(end.code), end.code, end.message, reason === undefined ? undefined : { error: reason })
    this.#resolveClosed(end)
  }

  #reportStuck(error: unknown): void {
    this.#report.event('error', 'VUS_DEVICE_STUCK', String(error), { error })
  }
}

/** @throws {ProtocolError} when the message has not the form of its request */
function checkShape(message: Message, info: RequestInfo): void {
  const size = message.bytes.length
  if (size < info.minPayload || size > info.maxPayload) {
    throw new ProtocolError('VUS_PAYLOAD_SIZE', `${info.name} with ${size} bytes`)
  }
  const fds = message.fds.length
  if (fds < info.minFds || fds > info.maxFds) throw new ProtocolError('VUS_FD_COUNT', `${info.name} with ${fds}`)
}

function endOf(reason: unknown): SessionEnd {
  if (reason === undefined) return { code: 'VUS_PEER_CLOSED', message: 'the front end closed the connection' }
  if (reason instanceof ProtocolError || reason instanceof FatalRefusal) {
    return { code: reason.code, message: reason.message }
  }
  return { code: 'VUS_INTERNAL', message: String(reason) }
}

function levelOf(code: string): ReportLevel {
  return code === 'VUS_PEER_CLOSED' || code === 'VUS_LOCAL_CLOSE' ? 'info' : 'error'
}

function reportSafely(report: SessionReporter, event: Parameters<SessionReporter['event']>): void {
  try {
    report.event(...event)
  } catch {
    // A log that fails must not end a connection.
  }
}
