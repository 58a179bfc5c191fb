/**
 * Locks on an image that QEMU understands: for each permission in use a shared lock on one byte, for each permission that
 * others may not have one on another (QEMU's block/file-posix.c; the bytes are far from a boot sector's and carry no data).
 */
import { setTimeout } from 'node:timers/promises'
import { ERRNO, errnoName, lockRange, queryLock } from 'memfd-mmap'
import { DeviceError } from 'vhost-user-protocol-ts'

/** Permissions as QEMU numbers them. */
const PERMISSION = { CONSISTENT_READ: 0, WRITE: 1, WRITE_UNCHANGED: 2, RESIZE: 3 } as const
const USED_BASE = 100
const UNSHARED_BASE = 200

/** File systems and kernels without such locks: then there is nothing to agree with. */
const UNSUPPORTED = new Set(['ENOLCK', 'EINVAL', 'EOPNOTSUPP'])

/** Between two attempts, ms: that a lock is free again is told only to who waits in the kernel, on a thread of its own. */
const RETRY = 10

export class ImageLock {
  readonly #fd: number
  readonly #path: string
  readonly #used: readonly number[]
  readonly #unshared: readonly number[]
  #holders = 0
  /** Until then somebody may take to let go of the image, see performance.now(). */
  #expected = 0

  /** @param shared others may write too, and make the image larger (QEMU's share-rw=on) */
  constructor(fd: number, path: string, writable: boolean, shared: boolean) {
    this.#fd = fd
    this.#path = path
    this.#used = [PERMISSION.CONSISTENT_READ, ...(writable ? [PERMISSION.WRITE] : [])]
    this.#unshared = shared ? [] : [PERMISSION.WRITE, PERMISSION.RESIZE]
  }

  /**
   * Takes the locks, or one hold more on them.
   *
   * @throws DeviceError VUS_IMAGE_LOCKED: another process uses the image in a way that excludes this one
   */
  acquire(): void {
    if (this.#holders === 0) this.#lock()
    this.#holders++
  }

  /** Whoever has the image has been asked to let go of it, and may take this long, ms. */
  expectWithin(patience: number): void {
    this.#expected = performance.now() + patience
  }

  /**
   * The same as soon as nobody excludes it.
   *
   * @param patience how long to try, ms, or longer where `expectWithin` says so
   * @throws DeviceError VUS_IMAGE_LOCKED: until then somebody did
   */
  async acquireWithin(patience: number): Promise<void> {
    const end = Math.max(performance.now() + patience, this.#expected)
    for (;;) {
      try {
        this.acquire()
        return
      } catch (error) {
        if (performance.now() > end) throw error
      }
      await setTimeout(RETRY)
    }
  }

  release(): void {
    this.#holders--
    if (this.#holders === 0) this.#unlock()
  }

  #lock(): void {
    for (const byte of this.#bytes()) {
      const result = lockRange(this.#fd, 'shared', byte, 1)
      if (result < 0) {
        this.#unlock()
        if (UNSUPPORTED.has(errnoName(-result))) return
        throw this.#conflict(byte)
      }
    }
    // What others use although we do not share it, and what they do not share although we use it.
    const conflict =
      this.#unshared.map((permission) => USED_BASE + permission).find((byte) => this.#isHeld(byte)) ??
      this.#used.map((permission) => UNSHARED_BASE + permission).find((byte) => this.#isHeld(byte))
    if (conflict === undefined) return
    this.#unlock()
    throw this.#conflict(conflict)
  }

  #bytes(): number[] {
    return [
      ...this.#used.map((permission) => USED_BASE + permission),
      ...this.#unshared.map((permission) => UNSHARED_BASE + permission),
    ]
  }

  #isHeld(byte: number): boolean {
    return queryLock(this.#fd, 'exclusive', byte, 1) === -ERRNO.EAGAIN
  }

  #unlock(): void {
    for (const byte of this.#bytes()) lockRange(this.#fd, 'unlock', byte, 1)
  }

  #conflict(byte: number): DeviceError {
    const name = (base: number): string => Object.keys(PERMISSION)[byte - base] ?? '?'
    const what =
      byte >= UNSHARED_BASE ? `does not share ${name(UNSHARED_BASE)}` : `uses ${name(USED_BASE)}, which is not shared`
    return new DeviceError('VUS_IMAGE_LOCKED', `${this.#path}: another process ${what}`)
  }
}
