import { close, createEventfd, createMemfd, socketPair } from 'memfd-mmap'
import t from 'tap'
import { BackendSession, definedRequests } from 'vhost-user-protocol-ts'
import { frame } from '../../support/vhost-user/frame.js'
import { leakless, MEMORY_SIZE, Reports, soon } from '../../support/vhost-user/harness.js'
import { RecordingDevice } from '../../support/vhost-user/recording-device.js'
import { put, take } from '../../support/vhost-user/wire.js'

/** The same numbers each time (a 32-bit xorshift), so that a failure can be repeated. */
class Dice {
  #state = 0x2545f491

  below(limit: number): number {
    let x = this.#state
    x ^= x << 13
    x ^= x >>> 17
    x ^= x << 5
    this.#state = x
    return (x >>> 0) % limit
  }

  bytes(count: number): Uint8Array {
    return Uint8Array.from({ length: count }, () => this.below(256))
  }
}

const REQUESTS = definedRequests()

/** Anything between noise and a well-formed message with odd contents. */
const message = (dice: Dice): Uint8Array => {
  const kind = dice.below(4)
  if (kind === 0) return dice.bytes(1 + dice.below(300))
  const info = REQUESTS[dice.below(REQUESTS.length)]!
  const size = info.minPayload + dice.below(info.maxPayload - info.minPayload + 1)
  const payload = kind === 1 ? dice.bytes(size) : new Uint8Array(size)
  // Small numbers here and there: ring indexes, counts, sizes that almost make sense.
  if (kind >= 2) for (let i = 0; i < size; i += 4) if (dice.below(3) === 0) payload[i] = dice.below(8)
  return frame(
    kind === 3 ? dice.below(60) : info.code,
    dice.below(8) === 0 ? dice.below(16) : 0x1 | (dice.below(2) << 3),
    payload,
  )
}

leakless(t, '1,000 connections of garbage', async (t) => {
  const dice = new Dice()
  const event = createEventfd()
  const memory = createMemfd('guest', MEMORY_SIZE)
  const codes = new Map<string, number>()
  for (let i = 0; i < 1000; i++) {
    const [here, there] = socketPair()
    const device = new RecordingDevice()
    const reports = new Reports()
    const session = new BackendSession(here, device, { report: reports })
    for (let n = 1 + dice.below(20); n > 0; n--) {
      const fds = Array.from({ length: dice.below(3) }, () => (dice.below(2) === 0 ? event : memory))
      put(there, message(dice), fds)
    }
    if (dice.below(2) === 0) close(there)
    else {
      // Half-way through, this one hangs up on the other's answers.
      await new Promise(setImmediate)
      take(there)?.fds.forEach(close)
      close(there)
    }
    const end = await soon(`connection ${i}`, session.closed)
    codes.set(end.code, (codes.get(end.code) ?? 0) + 1)
    if (device.running.size > 0 || device.calls.at(-1)?.method !== 'disconnect')
      t.fail(`connection ${i}: device not let go`)
    if (reports.codes('error').includes('VUS_DEVICE_STUCK')) t.fail(`connection ${i}: device stuck`)
  }
  close(event)
  close(memory)
  t.notOk(codes.has('VUS_INTERNAL'), 'nothing unforeseen')
  for (const code of ['VUS_BAD_VERSION', 'VUS_PAYLOAD_SIZE', 'VUS_FD_COUNT', 'VUS_UNKNOWN_REQUEST', 'VUS_REPLY_FLAG']) {
    t.ok(codes.has(code), `${code}: ${codes.get(code)}`)
  }
})
