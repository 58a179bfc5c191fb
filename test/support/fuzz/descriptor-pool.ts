import { closeSync, constants, openSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import {
  addSeals,
  createEventfd,
  createMemfd,
  F_SEAL_FUTURE_WRITE,
  F_SEAL_SEAL,
  F_SEAL_SHRINK,
  F_SEAL_WRITE,
  fcntl,
  ftruncate,
  listenUnix,
  Mapping,
  openFd,
  raw,
  socketPair,
} from 'memfd-mmap'
import type { Random } from '../random.js'
import type { Teardown } from '../teardown.js'
import { tempDir } from '../temp-dir.js'

const F_SETFL = 4
const MIB = 2 ** 20
export const INFLIGHT_BYTES = 256 * 1024
export const LOG_BYTES = 192 * 1024

/** Descriptors of every kind that a front end might send, and some that it should. */
export class DescriptorPool {
  readonly inflight = createMemfd('fuzzed-inflight', INFLIGHT_BYTES)
  readonly log = createMemfd('fuzzed-log', LOG_BYTES)
  /** A connected socket for SET_BACKEND_REQ_FD, and its other end. */
  channel: readonly [number, number] = socketPair()
  readonly #any: readonly number[]
  readonly #inflightBytes: Uint8Array

  constructor(t: Teardown) {
    const directory = tempDir(t)
    const memfd = (size: number, seals = 0): number => createMemfd('fuzzed', size, seals)
    const shrunk = memfd(MIB)
    ftruncate(shrunk, 4096)
    const unwritable = memfd(MIB)
    addSeals(unwritable, F_SEAL_WRITE)
    const future = memfd(MIB)
    addSeals(future, F_SEAL_FUTURE_WRITE | F_SEAL_SEAL)
    // As a counter that is full, one that blocks, and one that counts down.
    const full = createEventfd()
    const blocking = createEventfd()
    fcntl(blocking, F_SETFL, 0)
    const brim = new BigUint64Array([0xfffffffffffffffen])
    writeFileSync(full, brim)
    const file = join(directory, 'file')
    writeFileSync(file, new Uint8Array(MIB))
    const fifo = memfd(0)
    const flags = constants.O_RDONLY
    this.#any = [
      memfd(0),
      memfd(4095),
      memfd(MIB),
      memfd(MIB, F_SEAL_SHRINK),
      memfd(2 ** 40),
      shrunk,
      unwritable,
      future,
      fifo,
      full,
      blocking,
      createEventfd(1),
      ...socketPair(),
      listenUnix(join(directory, 'listening')),
      openFd(file, constants.O_RDWR),
      openFd(file, flags),
      openFd(`/proc/self/fd/${this.log}`, flags),
      openFd('/dev/null', constants.O_RDWR),
      openFd('/dev/zero', constants.O_RDWR),
      openFd('/proc/self/maps', flags),
      openSync(directory, flags),
      this.inflight,
      this.log,
    ]
    this.#inflightBytes = new Uint8Array(Mapping.map({ fd: this.inflight, length: INFLIGHT_BYTES }).view())
  }

  /** Any one. It stays the pool's. */
  pick(random: Random): number {
    return random.pick(this.#any)
  }

  /** Puts something new into the inflight buffer, and now and then onto the channel. */
  stir(random: Random): void {
    const bytes = this.#inflightBytes
    if (random.once(2)) bytes.fill(0)
    if (random.once(2)) {
      for (let i = 0; i < 64; i++) bytes[random.below(8192)] = random.once(2) ? random.below(4) : random.next()
      bytes[8] = random.below(3)
    }
    if (!random.once(64)) return
    for (const fd of this.channel) raw.close(fd)
    this.channel = socketPair()
    if (random.once(2)) writeFileSync(this.channel[1], 'nobody has asked for this')
  }

  close(): void {
    for (const fd of new Set([...this.#any, ...this.channel, this.inflight, this.log])) closeSync(fd)
  }
}
