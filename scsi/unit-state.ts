/** Bits of the state word (what a worker has to know about a unit before it takes a command). */
export const FLAG = {
  /** Nothing may write: WRITE PROTECTED. */
  READ_ONLY: 1 << 0,
  /** WCE: a write may be complete before it is durable (SBC-3 6.5.5). */
  WRITE_CACHE: 1 << 1,
  /** The medium is not to be reached for now: LOGICAL UNIT NOT READY. */
  NOT_READY: 1 << 2,
  /** A removable medium is not in its place: MEDIUM NOT PRESENT. */
  EJECTED: 1 << 3,
  /**
   * A flush has failed; what was written may be lost, so writes and flushes end with MEDIUM ERROR until the owner
   * clears this.
   */
  WRITE_FAULT: 1 << 5,
  /** D_SENSE: descriptor format sense data (SPC-4 7.5.8). */
  DESCRIPTOR_SENSE: 1 << 6,
  /** SWP: nothing may write until an initiator takes that back (SPC-4 7.5.8). */
  SOFTWARE_WRITE_PROTECT: 1 << 7,
  /** FORMAT UNIT is under way (SBC-3 5.3). */
  FORMATTING: 1 << 8,
  /** SANITIZE is under way (SBC-3 5.22). */
  SANITIZING: 1 << 9,
  /** FORMAT UNIT has failed: the medium is not to be used until another one succeeds. */
  FORMAT_FAILED: 1 << 10,
  /** SANITIZE has failed: nothing but SANITIZE is taken until that has been put right. */
  SANITIZE_FAILED: 1 << 11,
} as const

/** Flags that keep nearly all commands away. */
export const WIPED = FLAG.FORMATTING | FLAG.SANITIZING | FLAG.FORMAT_FAILED | FLAG.SANITIZE_FAILED

/** Flags that keep a command from the short way through execute(). */
export const UNUSUAL =
  FLAG.READ_ONLY | FLAG.NOT_READY | FLAG.EJECTED | FLAG.WRITE_FAULT | FLAG.SOFTWARE_WRITE_PROTECT | WIPED

/** Flags that are mode parameters: MODE SELECT changes them, a reset brings their defaults back. */
export const MODE_FLAGS = FLAG.WRITE_CACHE | FLAG.DESCRIPTOR_SENSE | FLAG.SOFTWARE_WRITE_PROTECT

/** Byte offsets in the shared memory of a unit. */
const STATE = {
  FLAGS: 0,
  GENERATION: 4,
  CAPACITY: 8,
  DEFAULTS: 16,
  PROGRESS: 20,
  AVAILABLE: 24,
  USED: 32,
  SIZE: 64,
} as const

/**
 * What all threads share of a logical unit. The owner writes it, every worker reads it, so each field is one load: the
 * flags an atomic Int32, the capacity an aligned double, which a 64-bit machine loads and stores whole.
 */
export class UnitState {
  static readonly BYTES = STATE.SIZE

  readonly memory: SharedArrayBuffer
  // Public for the I/O path: words[0] is the state word.
  readonly words: Int32Array
  readonly #doubles: Float64Array

  constructor(memory: SharedArrayBuffer) {
    this.memory = memory
    this.words = new Int32Array(memory, 0, STATE.SIZE >>> 2)
    this.#doubles = new Float64Array(memory, 0, STATE.SIZE >>> 3)
  }

  /** New shared memory for a unit of `capacity` logical blocks. */
  static create(capacity: number, flags: number = FLAG.WRITE_CACHE): UnitState {
    const state = new UnitState(new SharedArrayBuffer(STATE.SIZE))
    state.capacity = capacity
    state.set(flags)
    state.words[STATE.DEFAULTS >>> 2] = flags
    return state
  }

  /** The FLAG bits that the unit began with. */
  get defaults(): number {
    return this.words[STATE.DEFAULTS >>> 2]!
  }

  /** Gives the flags in `mask` the values that they have in `flags`, at once. Whether that changed any. */
  change(mask: number, flags: number): boolean {
    const at = STATE.FLAGS >>> 2
    let before = Atomics.load(this.words, at)
    for (;;) {
      const after = (before & ~mask) | (flags & mask)
      if (after === before) return false
      const found = Atomics.compareExchange(this.words, at, before, after)
      if (found === before) break
      before = found
    }
    Atomics.add(this.words, STATE.GENERATION >>> 2, 1)
    return true
  }

  /** The FLAG bits. */
  get flags(): number {
    return Atomics.load(this.words, STATE.FLAGS >>> 2)
  }

  set(flags: number): void {
    Atomics.or(this.words, STATE.FLAGS >>> 2, flags)
    Atomics.add(this.words, STATE.GENERATION >>> 2, 1)
  }

  clear(flags: number): void {
    Atomics.and(this.words, STATE.FLAGS >>> 2, ~flags)
    Atomics.add(this.words, STATE.GENERATION >>> 2, 1)
  }

  /** Bytes that the medium can still be given, and that it takes: what UnitConfig.spaceThreshold is about; 0 until it was looked at. */
  get space(): { readonly available: number; readonly used: number } {
    return { available: this.#doubles[STATE.AVAILABLE >>> 3]!, used: this.#doubles[STATE.USED >>> 3]! }
  }

  setSpace(available: number, used: number): void {
    this.#doubles[STATE.AVAILABLE >>> 3] = available
    this.#doubles[STATE.USED >>> 3] = used
  }

  /** Logical blocks on the medium, 0 to 2^53 / block size. */
  get capacity(): number {
    return this.#doubles[STATE.CAPACITY >>> 3]!
  }

  set capacity(blocks: number) {
    if (!Number.isSafeInteger(blocks) || blocks < 0) throw new RangeError(`capacity ${blocks} is no number of blocks`)
    this.#doubles[STATE.CAPACITY >>> 3] = blocks
    Atomics.add(this.words, STATE.GENERATION >>> 2, 1)
  }

  /** How far a FORMAT UNIT or SANITIZE is, 0 to 1. */
  get progress(): number {
    return Atomics.load(this.words, STATE.PROGRESS >>> 2) / 2 ** 30
  }

  set progress(fraction: number) {
    Atomics.store(this.words, STATE.PROGRESS >>> 2, Math.floor(fraction * 2 ** 30))
  }

  /** Counts the changes; wraps. */
  get generation(): number {
    return Atomics.load(this.words, STATE.GENERATION >>> 2)
  }
}
