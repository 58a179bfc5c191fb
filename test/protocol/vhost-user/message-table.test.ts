import { close, createEventfd, createMemfd, socketPair } from 'memfd-mmap'
import t from 'tap'
import {
  BackendSession,
  decodeHeader,
  FRONT_END_REQUEST,
  featureMask,
  HEADER,
  maskPayload,
  FRONT_END_REQUEST as REQUEST,
  requestInfo,
  requestName,
  VHOST_USER_PROTOCOL_F,
} from 'vhost-user-protocol-ts'
import { Random } from '../../support/random.js'
import { frame } from '../../support/vhost-user/frame.js'
import { leakless, MEMORY_SIZE, Reports, soon } from '../../support/vhost-user/harness.js'
import { naive } from '../../support/vhost-user/naive.js'
import { OUTCOMES, UNKNOWN } from '../../support/vhost-user/outcomes.js'
import { RecordingDevice } from '../../support/vhost-user/recording-device.js'
import { put, take, turn } from '../../support/vhost-user/wire.js'

const LAST = 60
const VERSION = 0x1
const NEED_REPLY = 0x9

/** Payloads that mean something; the others are zeros, as short as they may be. */
const PAYLOADS: Readonly<Record<number, Uint8Array>> = {
  [REQUEST.SET_FEATURES]: naive([8, 0x140000000]),
  [REQUEST.SET_PROTOCOL_FEATURES]: naive([8, featureMask(VHOST_USER_PROTOCOL_F.REPLY_ACK)]),
  [REQUEST.SET_LOG_BASE]: naive([8, 4096], [8, 0]),
  [REQUEST.SET_VRING_NUM]: naive([4, 1], [4, 128]),
  [REQUEST.GET_INFLIGHT_FD]: naive([8, 0], [8, 0], [2, 4], [2, 128], [4, 0]),
  [REQUEST.SET_INFLIGHT_FD]: naive([8, 4096], [8, 0], [2, 4], [2, 128], [4, 0]),
  [REQUEST.ADD_MEM_REG]: naive([8, 0], [8, 0], [8, MEMORY_SIZE], [8, 0], [8, 0]),
  [REQUEST.REM_MEM_REG]: naive([8, 0], [8, 0], [8, MEMORY_SIZE], [8, 0], [8, 0]),
}

/** Requests that bring a descriptor although they need not. */
const WITH_FD = new Set<number>([
  REQUEST.SET_LOG_BASE,
  REQUEST.SET_LOG_FD,
  REQUEST.SET_VRING_KICK,
  REQUEST.SET_VRING_CALL,
  REQUEST.SET_VRING_ERR,
  REQUEST.REM_MEM_REG,
])

const isRing = (request: number): boolean => request >= REQUEST.SET_VRING_KICK && request <= REQUEST.SET_VRING_ERR

/** The descriptors of a request, to be closed. One also for what nobody knows. */
const descriptors = (request: number): number[] => {
  const info = requestInfo(request)
  const count = info === undefined || WITH_FD.has(request) ? 1 : info.minFds
  return Array.from({ length: count }, () => {
    if (request === REQUEST.SET_BACKEND_REQ_FD) {
      const [one, other] = socketPair()
      close(other)
      return one
    }
    return isRing(request) ? createEventfd() : createMemfd('any', MEMORY_SIZE)
  })
}

/** A session over a socket whose other end only the test reads. */
class Wire {
  readonly device = new RecordingDevice().offerMigration()
  readonly reports = new Reports()
  readonly session: BackendSession
  readonly #there: number
  #over = false

  constructor() {
    const [here, there] = socketPair()
    this.device.protocolFeatures |= featureMask(VHOST_USER_PROTOCOL_F.CONFIG, VHOST_USER_PROTOCOL_F.STATUS)
    this.device.config = new Uint8Array(36)
    this.session = new BackendSession(here, this.device, { report: this.reports })
    this.session.closed.then(() => {
      this.#over = true
    })
    this.#there = there
  }

  negotiate(): Promise<string> {
    const payload = maskPayload(this.device.protocolFeatures)
    return this.outcome(frame(REQUEST.SET_PROTOCOL_FEATURES, VERSION, payload), [])
  }

  /** Sends a message, and a GET_FEATURES after it: what came in between. The descriptors are closed. */
  async outcome(bytes: Uint8Array, fds: readonly number[]): Promise<string> {
    put(this.#there, bytes, fds)
    for (const fd of fds) close(fd)
    put(this.#there, frame(REQUEST.GET_FEATURES, VERSION))
    const request = decodeHeader(new DataView(bytes.buffer), 0).request
    const warnings = this.reports.codes('warn').length
    const replies = await soon(requestName(request), this.#replies(request === REQUEST.GET_FEATURES ? 2 : 1))
    if (replies === undefined) return (await this.session.closed).code
    return replies + (this.reports.codes('warn').length > warnings && replies !== 'nack' ? ' refused' : '')
  }

  async leave(): Promise<void> {
    close(this.#there)
    await soon('the end', this.session.closed)
  }

  /** The first message that comes before the reply to the last of `barriers` GET_FEATURES; undefined: the connection has ended. */
  async #replies(barriers: number): Promise<string | undefined> {
    let bytes = Buffer.alloc(0)
    let seen = '-'
    for (let left = barriers; left > 0; ) {
      const got = take(this.#there)
      if (got === undefined) {
        if (this.#over) return undefined
        await turn()
        continue
      }
      for (const fd of got.fds) close(fd)
      const withFds = got.fds.length > 0 ? ' and a descriptor' : ''
      bytes = Buffer.concat([bytes, got.bytes])
      while (bytes.length >= HEADER.LENGTH) {
        const { request, flags, size } = decodeHeader(new DataView(bytes.buffer, bytes.byteOffset), 0)
        if (bytes.length < HEADER.LENGTH + size) break
        const payload = bytes.subarray(HEADER.LENGTH, HEADER.LENGTH + size)
        bytes = bytes.subarray(HEADER.LENGTH + size)
        if (flags !== 0x5) throw new Error(`a reply with flags ${flags}`)
        if (request === REQUEST.GET_FEATURES && --left === 0) break
        if (requestInfo(request)?.reply === 'ack' || requestInfo(request) === undefined) {
          seen = payload.length === 8 && payload.every((byte) => byte === 0) ? 'ack' : 'nack'
        } else {
          seen = `${size}${withFds}`
        }
      }
    }
    return seen
  }
}

for (let request = 1; request <= LAST; request++) {
  const name = requestName(request)
  const expected = OUTCOMES[name as keyof typeof OUTCOMES] ?? UNKNOWN
  leakless(t, `${request} ${name}: ${[...new Set(expected)].join(', ')}`, async (t) => {
    const payload = PAYLOADS[request] ?? new Uint8Array(requestInfo(request)?.minPayload ?? 0)
    const seen: string[] = []
    for (const [negotiate, flags] of [
      [false, VERSION],
      [true, VERSION],
      [true, NEED_REPLY],
    ] as const) {
      const wire = new Wire()
      if (negotiate) t.equal(await wire.negotiate(), '-')
      seen.push(await wire.outcome(frame(request, flags, payload), descriptors(request)))
      await wire.leave()
    }
    t.same(seen, expected)
  })
}

leakless(t, 'any number, any bytes, any descriptors: an end or an answer, and nothing is left open', async (t) => {
  const random = new Random(1)
  for (let request = 0; request <= LAST; request++) {
    for (const negotiate of [false, true]) {
      const wire = new Wire()
      if (negotiate) await wire.negotiate()
      const info = requestInfo(request)
      const bytes = new Uint8Array(info?.maxPayload ?? 100)
      random.fill(bytes)
      const count = info === undefined ? 3 : Math.max(info.maxFds, 1)
      const fds = Array.from({ length: count }, (_, i) => (i === 0 ? createEventfd() : createMemfd('any', 4096)))
      const outcome = await wire.outcome(frame(request, NEED_REPLY, bytes), fds)
      t.match(outcome, /^(VUS_|-|ack|nack|\d)/)
      t.not(outcome, 'VUS_INTERNAL')
      await wire.leave()
    }
  }
})

t.test('the table has every request', async (t) => {
  t.same(Object.keys(OUTCOMES), Object.keys(FRONT_END_REQUEST))
})
