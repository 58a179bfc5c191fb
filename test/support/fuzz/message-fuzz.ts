import { createEventfd, raw, signalEventfd } from 'memfd-mmap'
import { FRONT_END_REQUEST, HEADER_FLAG } from 'vhost-user-protocol-ts'
import { Random } from '../random.js'
import type { Teardown } from '../teardown.js'
import { DescriptorPool } from './descriptor-pool.js'
import type { FuzzBed } from './fuzz-bed.js'
import { FuzzMemory, MAX_RINGS } from './fuzz-memory.js'
import { bytesOf, type Frame, givesOtherMemory, type Material, MessageScript } from './message-script.js'
import { BatchWriter } from './ring-batch.js'
import { Wire } from './wire.js'

/** Answered always and in any state: when its answer is there, all that came before has been carried out. */
const MARK = FRONT_END_REQUEST.GET_QUEUE_NUM
const MARK_FRAME: Frame = {
  request: MARK,
  flags: HEADER_FLAG.VERSION,
  payload: new Uint8Array(0),
  size: 0,
  fds: [],
  cut: 0,
  spoilt: false,
}
const MARK_BYTES = bytesOf(MARK_FRAME)

const RING_SIZE = 16
/** Requests without anybody who takes the answers: more than all buffers on the way hold. */
const UNREAD = 2000

/** Connections whose messages follow from a seed. */
export class MessageFuzz {
  readonly memory = new FuzzMemory()
  readonly #bed: FuzzBed
  readonly #material: Material
  readonly #split: BatchWriter
  readonly #packed: BatchWriter
  /** Whether this connection, and the one before, may have written elsewhere. */
  #excused = [false, false]

  constructor(t: Teardown, bed: FuzzBed) {
    const eventfds = (): number[] => Array.from({ length: MAX_RINGS }, () => createEventfd())
    this.#bed = bed
    this.#split = new BatchWriter(this.memory, false, false)
    this.#packed = new BatchWriter(this.memory, true, false)
    this.#material = {
      // Without the far one.
      regions: this.memory.regions.slice(0, 3),
      kicks: eventfds(),
      calls: eventfds(),
      errs: eventfds(),
      pool: new DescriptorPool(t),
    }
  }

  /** One connection. How many messages the daemon has taken at least: those before the last answer, and the one that ended it. */
  async run(seed: number): Promise<number> {
    const random = new Random(seed)
    const { pool, kicks } = this.#material
    const script = new MessageScript(random, this.#material)
    const writer = script.packed ? this.#packed : this.#split
    const { mode, rings } = writer.begin(random, script.indirect, RING_SIZE)
    writer.fill(random, mode, rings)
    pool.stir(random)
    for (const kick of kicks) signalEventfd(kick)
    const frames = script.frames(rings)
    this.#excused = [this.#excused[1]!, givesOtherMemory(frames)]
    // Some who come in between, and go without a word.
    const others = Array.from({ length: random.once(50) ? random.below(4) : 0 }, () => new Wire(this.#bed.socketPath))
    const wire = new Wire(this.#bed.socketPath)
    try {
      for (const other of others) other.close()
      if (random.once(200)) return await this.#unread(wire, random)
      return await this.#send(wire, random, frames)
    } finally {
      wire.close()
      this.#checkCanaries(seed)
    }
  }

  /** The daemon need not be done with this connection, but is with the one before. */
  #checkCanaries(seed: number): void {
    if (this.memory.canariesLive) return
    if (!this.#excused.includes(true)) throw new Error(`VUS_SEED=${seed}: written outside of the regions`)
    this.memory.renewCanaries()
  }

  async #send(wire: Wire, random: Random, frames: readonly Frame[]): Promise<number> {
    // Cut off in a certain message, after some of its bytes.
    const last = random.once(6) ? random.below(frames.length + 1) : frames.length
    let taken = 0
    let marks = 0
    let pending = 0
    for (const [i, frame] of frames.entries()) {
      const bytes = bytesOf(frame)
      if (i === last) {
        await wire.send(bytes.subarray(0, random.below(bytes.length + 1)), frame.fds)
        break
      }
      const cut = Math.min(frame.cut, bytes.length)
      const alive =
        cut === 0
          ? await wire.send(bytes, frame.fds)
          : (await wire.send(bytes.subarray(0, cut), random.once(4) ? [] : frame.fds)) &&
            (await wire.send(bytes.subarray(cut), random.once(4) ? frame.fds : []))
      if (!alive) break
      pending++
      if (frame.request === MARK && frame.size === 0) marks++
      if (frame.size !== frame.payload.length) {
        // Whatever comes next is taken for something else.
        await wire.send(MARK_BYTES)
        await wire.finish()
        return taken + 1
      }
      if (!random.once(5)) continue
      for (const kick of this.#material.kicks) signalEventfd(kick)
      if (!(await wire.send(MARK_BYTES))) break
      const expected = ++marks
      await wire.until(`the answer to message ${i}`, () => wire.replies(MARK) >= expected)
      if (wire.ended) break
      taken += pending + 1
      pending = 0
    }
    if (wire.ended) return taken + 1
    if (random.once(2)) return taken + 1
    await wire.finish()
    return taken + 1
  }

  /** Answers that nobody reads do not have to be kept by the daemon. */
  async #unread(wire: Wire, random: Random): Promise<number> {
    wire.deaf = true
    const count = random.below(UNREAD)
    const bytes = new Uint8Array(MARK_BYTES.length * 50)
    for (let at = 0; at < bytes.length; at += MARK_BYTES.length) bytes.set(MARK_BYTES, at)
    let sent = 0
    while (sent < count && wire.offer(bytes)) sent += 50
    if (random.once(2)) return 1
    wire.deaf = false
    await wire.until('answers', () => wire.replies(MARK) >= sent)
    return sent
  }

  close(): void {
    const { kicks, calls, errs, pool } = this.#material
    for (const fd of [...kicks, ...calls, ...errs]) raw.close(fd)
    pool.close()
    this.memory.close()
  }
}
