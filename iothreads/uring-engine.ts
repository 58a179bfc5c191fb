import { type BlockIo, PENDING } from './block-io.js'
import type { EngineHandler, EventEngine } from './event-engine.js'
import type { Request } from './request.js'
import { Uring } from './uring.js'
import {
  IORING_CQE_F_MORE,
  IORING_FSYNC_DATASYNC,
  IORING_OP,
  IORING_POLL_ADD_MULTI,
  IOSQE_FIXED_FILE,
  SQE,
} from './uring-layout.js'

const POLLIN = 1

/** The high half of user_data: what the completion belongs to. The low half is the request's id or the watch's token. */
const KIND = { REQUEST: 0, WATCH: 1, IGNORED: 2 } as const

/** Files that can be registered; any further one is used by its descriptor. */
const FILES = 1024

/** The entry has 32 bits for it (64 since Linux 6.9); the kernel reads less than that ahead anyway. */
const MAX_ADVICE = 2 ** 30

const ENTRIES = 1024
const COMPLETIONS = 4096

/** The event loop on io_uring: I/O and descriptor watches complete in one ring, one system call submits and waits. */
export class UringEngine implements EventEngine, BlockIo {
  readonly name = 'io_uring'
  readonly io = this as BlockIo
  readonly #ring: Uring
  readonly #handler: EngineHandler
  /** Descriptor of each watch by token; -1: ended. */
  readonly #watches: number[] = []
  /** Watches whose last completion has not come yet, by token. */
  readonly #armed: boolean[] = []
  /** By descriptor: its place among the registered files, which saves the kernel a look-up for each I/O; -1: none. */
  #fixed = new Int32Array(0)
  readonly #freePlaces: number[] = []
  /** How often each file was added and not removed. */
  readonly #fileUsers = new Map<number, number>()
  #inFlight = 0

  /** @throws SystemError where io_uring is refused */
  constructor(handler: EngineHandler) {
    this.#ring = Uring.create(ENTRIES, COMPLETIONS)
    this.#handler = handler
    if (this.#ring.registerFiles(FILES)) for (let place = FILES - 1; place >= 0; place--) this.#freePlaces.push(place)
  }

  addFile(fd: number): void {
    const users = this.#fileUsers.get(fd) ?? 0
    this.#fileUsers.set(fd, users + 1)
    if (users > 0) return
    if (fd >= this.#fixed.length) {
      const fixed = new Int32Array(fd + 64).fill(-1)
      fixed.set(this.#fixed)
      this.#fixed = fixed
    }
    const place = this.#freePlaces.pop()
    if (place === undefined) return
    if (this.#ring.updateFile(place, fd)) this.#fixed[fd] = place
    else this.#freePlaces.push(place)
  }

  removeFile(fd: number): void {
    const users = this.#fileUsers.get(fd) ?? 0
    if (users > 1) {
      this.#fileUsers.set(fd, users - 1)
      return
    }
    this.#fileUsers.delete(fd)
    const place = this.#fixed[fd] ?? -1
    if (place < 0) return
    this.#fixed[fd] = -1
    this.#ring.updateFile(place, -1)
    this.#freePlaces.push(place)
  }

  watch(fd: number, token: number): void {
    this.#watches[token] = fd
    this.#arm(token)
  }

  #arm(token: number): void {
    const at = this.#prepare(IORING_OP.POLL_ADD, this.#watches[token]!, token, KIND.WATCH)
    const sqes = this.#ring.sqes
    sqes[at + SQE.LEN] = IORING_POLL_ADD_MULTI
    sqes[at + SQE.OP_FLAGS] = POLLIN
    this.#armed[token] = true
  }

  unwatch(_fd: number, token: number): void {
    this.#watches[token] = -1
    // Not POLL_REMOVE: that leaves a poll armed (EALREADY) whose descriptor has just become readable.
    if (this.#armed[token]) this.#prepareCancel(token, KIND.WATCH)
  }

  unwatched(token: number): boolean {
    return !this.#armed[token]
  }

  cancel(id: number): void {
    this.#prepareCancel(id, KIND.REQUEST)
  }

  #prepareCancel(id: number, kind: number): void {
    const at = this.#prepare(IORING_OP.ASYNC_CANCEL, -1, 0, KIND.IGNORED)
    const sqes = this.#ring.sqes
    sqes[at + SQE.ADDR] = id
    sqes[at + SQE.ADDR + 1] = kind
  }

  #prepare(opcode: number, fd: number, id: number, kind: number): number {
    const at = this.#ring.getSqe()
    const sqes = this.#ring.sqes
    sqes[at] = opcode
    sqes[at + SQE.FD] = fd
    sqes[at + SQE.USER_DATA] = id
    sqes[at + SQE.USER_DATA + 1] = kind
    return at
  }

  #prepareIo(opcode: number, fd: number, id: number, address: number, length: number, offset: number): number {
    const fixed = fd < this.#fixed.length ? this.#fixed[fd]! : -1
    const at =
      fixed < 0
        ? this.#prepare(opcode, fd, id, KIND.REQUEST)
        : this.#prepare(opcode | IOSQE_FIXED_FILE, fixed, id, KIND.REQUEST)
    const sqes = this.#ring.sqes
    sqes[at + SQE.OFF] = offset
    sqes[at + SQE.OFF + 1] = offset / 2 ** 32
    sqes[at + SQE.ADDR] = address
    sqes[at + SQE.ADDR + 1] = address / 2 ** 32
    sqes[at + SQE.LEN] = length
    this.#inFlight++
    return at
  }

  transfer(
    id: number,
    write: boolean,
    fd: number,
    address: number,
    length: number,
    offset: number,
    flags: number,
  ): number {
    const at = this.#prepareIo(write ? IORING_OP.WRITE : IORING_OP.READ, fd, id, address, length, offset)
    this.#ring.sqes[at + SQE.OP_FLAGS] = flags
    return PENDING
  }

  transferSegment(
    request: Request,
    write: boolean,
    fd: number,
    segments: Float64Array,
    at: number,
    flags: number,
  ): number {
    const { id, task } = request
    const opcode = write ? IORING_OP.WRITE : IORING_OP.READ
    const fixed = fd < this.#fixed.length ? this.#fixed[fd]! : -1
    const sqe =
      fixed < 0
        ? this.#prepare(opcode, fd, id, KIND.REQUEST)
        : this.#prepare(opcode | IOSQE_FIXED_FILE, fixed, id, KIND.REQUEST)
    const sqes = this.#ring.sqes
    sqes[sqe + SQE.OFF] = task.offset
    sqes[sqe + SQE.OFF + 1] = task.offset / 2 ** 32
    sqes[sqe + SQE.ADDR] = segments[at]!
    sqes[sqe + SQE.ADDR + 1] = segments[at]! / 2 ** 32
    sqes[sqe + SQE.LEN] = task.length
    sqes[sqe + SQE.OP_FLAGS] = flags
    this.#inFlight++
    return PENDING
  }

  transferVector(
    id: number,
    write: boolean,
    fd: number,
    iov: number,
    count: number,
    offset: number,
    flags: number,
  ): number {
    const at = this.#prepareIo(write ? IORING_OP.WRITEV : IORING_OP.READV, fd, id, iov, count, offset)
    this.#ring.sqes[at + SQE.OP_FLAGS] = flags
    return PENDING
  }

  flush(id: number, fd: number): number {
    const at = this.#prepareIo(IORING_OP.FSYNC, fd, id, 0, 0, 0)
    this.#ring.sqes[at + SQE.OP_FLAGS] = IORING_FSYNC_DATASYNC
    return PENDING
  }

  fallocate(id: number, fd: number, mode: number, offset: number, length: number): number {
    // The length goes where an address usually is, the mode where a length is.
    this.#prepareIo(IORING_OP.FALLOCATE, fd, id, length, mode, offset)
    return PENDING
  }

  fadvise(id: number, fd: number, offset: number, length: number, advice: number): number {
    const at = this.#prepareIo(IORING_OP.FADVISE, fd, id, 0, Math.min(length, MAX_ADVICE), offset)
    this.#ring.sqes[at + SQE.OP_FLAGS] = advice
    return PENDING
  }

  submit(): void {
    if (this.#ring.pending || this.#inFlight > 0) this.#ring.submit()
  }

  ready(): boolean {
    return this.#ring.completions() > 0
  }

  reap(): number {
    const ring = this.#ring
    const count = ring.completions()
    for (let i = 0; i < count; i++) {
      const cqe = ring.cqe(i)
      const kind = ring.userKind(cqe)
      if (kind === KIND.REQUEST) {
        this.#inFlight--
        this.#handler.completed(ring.userData(cqe), ring.result(cqe))
      } else if (kind === KIND.WATCH) {
        this.#watched(ring.userData(cqe), ring.result(cqe), ring.flags(cqe))
      }
    }
    // Handed back only now: what a handler submits meanwhile cannot overwrite entries that are still being read.
    if (count > 0) ring.advance(count)
    return count
  }

  #watched(token: number, result: number, flags: number): void {
    const live = this.#watches[token]! >= 0
    if ((flags & IORING_CQE_F_MORE) === 0) {
      this.#armed[token] = false
      // A descriptor that cannot be watched is not tried again and again.
      if (live && result >= 0) this.#arm(token)
    }
    if (live && result >= 0) this.#handler.readable(token)
  }

  wait(nanoseconds: number): void {
    this.#ring.submitAndWait(nanoseconds)
  }

  close(): void {
    this.#ring.close()
  }
}
