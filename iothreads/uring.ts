import { close, Mapping, SystemError, syscall } from 'memfd-mmap'
import {
  CQ_OFF,
  CQE,
  FILES_UPDATE,
  GETEVENTS_ARG,
  IORING_ENTER,
  IORING_FEAT,
  IORING_OFF,
  IORING_REGISTER,
  IORING_SETUP,
  PARAMS,
  SQ_OFF,
  SQE,
  SYS_IO_URING,
} from './uring-layout.js'

const { WORDS } = SQE
const EINVAL = 22
const EINTR = 4
const EAGAIN = 11

/**
 * One io_uring: its two rings mapped and read through typed arrays. Names follow liburing. To be created, entered and
 * closed in one thread (IORING_SETUP_SINGLE_ISSUER).
 */
export class Uring {
  readonly fd: number
  /** The words of all submission queue entries; `getSqe` answers where the next one starts. */
  readonly sqes: Uint32Array
  readonly #ring: Mapping
  readonly #sqeMapping: Mapping
  /** Ring words as signed: indexes wrap with `| 0` and stay small integers for ever. */
  readonly #words: Int32Array
  readonly #sqHead: number
  readonly #sqTail: number
  readonly #sqEntries: number
  readonly #sqMask: number
  readonly #cqHead: number
  readonly #cqTail: number
  readonly #cqMask: number
  readonly #cqes: number
  readonly #argument: Mapping
  /** For calls that take their arguments from memory. */
  readonly #scratch = Mapping.anonymous(4096)
  readonly #timespecWords: Uint32Array
  /** Our tail, and what the kernel was last told of it. */
  #tail = 0
  #submitted = 0
  #head = 0

  private constructor(fd: number, params: Uint32Array) {
    this.fd = fd
    const sq = (name: keyof typeof SQ_OFF): number => params[(PARAMS.SQ_OFF + SQ_OFF[name]) / 4]!
    const cq = (name: keyof typeof CQ_OFF): number => params[(PARAMS.CQ_OFF + CQ_OFF[name]) / 4]!
    this.#sqEntries = params[PARAMS.SQ_ENTRIES / 4]!
    const cqEntries = params[PARAMS.CQ_ENTRIES / 4]!
    const bytes = Math.max(sq('ARRAY') + 4 * this.#sqEntries, cq('CQES') + 4 * CQE.WORDS * cqEntries)
    this.#ring = Mapping.map({ fd, offset: IORING_OFF.SQ_RING, length: bytes })
    this.#sqeMapping = Mapping.map({ fd, offset: IORING_OFF.SQES, length: 4 * SQE.WORDS * this.#sqEntries })
    this.#argument = Mapping.anonymous(4096)
    const view = this.#ring.view()
    this.#words = new Int32Array(view)
    this.sqes = new Uint32Array(this.#sqeMapping.view())
    this.#sqHead = sq('HEAD') / 4
    this.#sqTail = sq('TAIL') / 4
    this.#sqMask = this.#sqEntries - 1
    this.#cqHead = cq('HEAD') / 4
    this.#cqTail = cq('TAIL') / 4
    this.#cqMask = cqEntries - 1
    this.#cqes = cq('CQES') / 4
    const array = sq('ARRAY') / 4
    for (let i = 0; i < this.#sqEntries; i++) this.#words[array + i] = i
    this.#tail = this.#words[this.#sqTail]!
    this.#submitted = this.#tail
    this.#head = this.#words[this.#cqHead]!
    // The argument of a wait with a time limit: no signal mask, and a timespec that lies right behind.
    const argument = new DataView(this.#argument.view())
    const timespec = this.#argument.address + 64
    argument.setUint32(GETEVENTS_ARG.TIMESPEC, timespec % 2 ** 32, true)
    argument.setUint32(GETEVENTS_ARG.TIMESPEC + 4, Math.floor(timespec / 2 ** 32), true)
    this.#timespecWords = new Uint32Array(argument.buffer, 64, 4)
  }

  /**
   * Sets a ring up with the flags that suit one thread, or without those that an older kernel does not know.
   *
   * @throws SystemError where the kernel refuses io_uring (ENOSYS, EPERM) or lacks what we build on (EINVAL)
   */
  static create(entries: number, completions: number): Uring {
    const memory = Mapping.anonymous(4096)
    try {
      const params = new Uint32Array(memory.view(0, PARAMS.SIZE))
      const base = IORING_SETUP.CQSIZE | IORING_SETUP.CLAMP
      let fd = -EINVAL
      for (const flags of [base | IORING_SETUP.SINGLE_ISSUER | IORING_SETUP.DEFER_TASKRUN, base]) {
        params.fill(0)
        params[PARAMS.FLAGS / 4] = flags
        params[PARAMS.CQ_ENTRIES / 4] = completions
        fd = syscall(SYS_IO_URING.SETUP, entries, memory.address)
        if (fd !== -EINVAL) break
      }
      if (fd < 0) throw new SystemError('io_uring_setup', -fd)
      const features = params[PARAMS.FEATURES / 4]!
      const needed = IORING_FEAT.SINGLE_MMAP | IORING_FEAT.NODROP | IORING_FEAT.EXT_ARG
      if ((features & needed) !== needed) {
        close(fd)
        throw new SystemError('io_uring_setup', EINVAL)
      }
      try {
        return new Uring(fd, params)
      } catch (error) {
        close(fd)
        throw error
      }
    } finally {
      memory.unmap()
    }
  }

  /**
   * The first word, in `sqes`, of a cleared submission queue entry; submits what is queued when the ring is full.
   *
   * @throws SystemError where the kernel takes nothing: an entry that it has not seen must not be overwritten
   */
  getSqe(): number {
    // Entries are taken during a call only, so what was submitted is where the kernel's head is.
    while (((this.#tail - this.#submitted) | 0) >= this.#sqEntries) {
      const result = this.submit()
      // EAGAIN: no memory for the requests just now.
      if (result < 0 && result !== -EAGAIN) throw new SystemError('io_uring_enter', result)
    }
    const at = (this.#tail & this.#sqMask) * SQE.WORDS
    this.#tail = (this.#tail + 1) | 0
    const sqes = this.sqes
    for (let i = 0; i < WORDS; i++) sqes[at + i] = 0
    return at
  }

  /** Whether entries wait to be submitted. */
  get pending(): boolean {
    return this.#tail !== this.#submitted
  }

  /** Submits what is queued, and lets the kernel post what has completed. Returns 0 or -errno. */
  submit(): number {
    return this.#enter(0, IORING_ENTER.GETEVENTS, 0, 0)
  }

  /**
   * Submits what is queued and waits for a completion, at most `nanoseconds`. Returns 0 or -errno (ETIME: nothing was
   * queued, and none came).
   */
  submitAndWait(nanoseconds: number): number {
    const seconds = Math.floor(nanoseconds / 1e9)
    this.#timespecWords[0] = seconds
    this.#timespecWords[2] = nanoseconds - seconds * 1e9
    return this.#enter(1, IORING_ENTER.GETEVENTS | IORING_ENTER.EXT_ARG, this.#argument.address, GETEVENTS_ARG.SIZE)
  }

  #enter(wait: number, flags: number, argument: number, size: number): number {
    const count = (this.#tail - this.#submitted) | 0
    Atomics.store(this.#words, this.#sqTail, this.#tail)
    const result = syscall(SYS_IO_URING.ENTER, this.fd, count, wait, flags, argument, size)
    if (result >= 0) {
      this.#submitted = (this.#submitted + result) | 0
      return 0
    }
    // Entries that were taken before a wait failed are not ours any more: the kernel's head tells.
    this.#submitted = Atomics.load(this.#words, this.#sqHead)
    return result === -EINTR ? 0 : result
  }

  /** How many completions are there to be read. */
  completions(): number {
    return (Atomics.load(this.#words, this.#cqTail) - this.#head) | 0
  }

  /** The words of the completion `i` places from the oldest, i less than `completions()`. */
  cqe(i: number): number {
    return this.#cqes + ((this.#head + i) & this.#cqMask) * CQE.WORDS
  }

  userData(cqe: number): number {
    return this.#words[cqe]!
  }

  userKind(cqe: number): number {
    return this.#words[cqe + 1]!
  }

  result(cqe: number): number {
    return this.#words[cqe + CQE.RES]!
  }

  flags(cqe: number): number {
    return this.#words[cqe + CQE.FLAGS]!
  }

  /** Hands `count` read completions back to the kernel (io_uring_cq_advance). */
  advance(count: number): void {
    this.#head = (this.#head + count) | 0
    Atomics.store(this.#words, this.#cqHead, this.#head)
  }

  /** Makes room for `count` registered files, none of them there yet. False: the kernel will not. */
  registerFiles(count: number): boolean {
    const fds = new Int32Array(this.#scratch.view(0, 4 * count))
    fds.fill(-1)
    return syscall(SYS_IO_URING.REGISTER, this.fd, IORING_REGISTER.FILES, this.#scratch.address, count) >= 0
  }

  /** Puts a descriptor (-1: none) at a place of the registered files. False: the kernel will not. */
  updateFile(place: number, fd: number): boolean {
    const view = new DataView(this.#scratch.view(0, 64))
    const fds = this.#scratch.address + FILES_UPDATE.SIZE
    view.setUint32(FILES_UPDATE.OFFSET, place, true)
    view.setUint32(FILES_UPDATE.RESERVED, 0, true)
    view.setUint32(FILES_UPDATE.FDS, fds % 2 ** 32, true)
    view.setUint32(FILES_UPDATE.FDS + 4, Math.floor(fds / 2 ** 32), true)
    view.setInt32(FILES_UPDATE.SIZE, fd, true)
    return syscall(SYS_IO_URING.REGISTER, this.fd, IORING_REGISTER.FILES_UPDATE, this.#scratch.address, 1) === 1
  }

  /** Closes the ring and unmaps it. Nothing is in flight. */
  close(): void {
    this.#ring.unmap()
    this.#sqeMapping.unmap()
    this.#argument.unmap()
    this.#scratch.unmap()
    close(this.fd)
  }
}
