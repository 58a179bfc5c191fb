/** A file of what outlives a restart: whole in its old or in its new form whatever happens, and one process's at a time. */
import { constants } from 'node:fs'
import { open, readFile, rename } from 'node:fs/promises'
import { dirname } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { close, errnoName, lockRange, openFd } from 'memfd-mmap'
import { errorCode } from './errors.js'

const MODE = 0o600
/** Between two attempts to lock, ms. */
const RETRY = 20
/** File systems without such locks: then nobody can be kept out. */
const UNSUPPORTED = new Set(['ENOLCK', 'EINVAL', 'EOPNOTSUPP'])

export class StateFile {
  readonly path: string
  #lock = -1

  constructor(path: string) {
    this.path = path
  }

  /** Whether this process has the file. */
  get isLocked(): boolean {
    return this.#lock >= 0
  }

  /**
   * Takes the file for this process; a lock on a file beside it, for it is replaced at each write.
   *
   * @param patience how long to wait for another one to let go of it, ms: the kernel takes its time with one that was killed
   * @returns false: another one has it
   */
  async lock(patience: number): Promise<boolean> {
    const fd = openFd(`${this.path}.lock`, constants.O_RDWR | constants.O_CREAT, MODE)
    const end = performance.now() + patience
    for (;;) {
      const result = lockRange(fd, 'exclusive', 0, 1)
      if (result === 0 || UNSUPPORTED.has(errnoName(-result))) break
      if (performance.now() > end) {
        close(fd)
        return false
      }
      await setTimeout(RETRY)
    }
    this.#lock = fd
    return true
  }

  /** Its content; undefined: there is none yet. Rejects with a system error. */
  async read(): Promise<string | undefined> {
    try {
      return await readFile(this.path, 'utf8')
    } catch (error) {
      if (errorCode(error) === 'ENOENT') return undefined
      throw error
    }
  }

  /**
   * Replaces the content, one write at a time; resolves when it is on disk. Rejects with a system error; then it is the old content or the
   * new.
   */
  async write(content: string): Promise<void> {
    const temporary = `${this.path}.new`
    const file = await open(temporary, 'w', MODE)
    try {
      await file.writeFile(content)
      await file.sync()
    } finally {
      await file.close()
    }
    await rename(temporary, this.path)
    const directory = await open(dirname(this.path), constants.O_RDONLY | constants.O_DIRECTORY)
    try {
      await directory.sync()
    } finally {
      await directory.close()
    }
  }

  /** Lets go of the file. */
  close(): void {
    if (this.#lock >= 0) close(this.#lock)
    this.#lock = -1
  }
}
