import { readFileSync, statSync } from 'node:fs'
import { dirname } from 'node:path'

const DIRECTORY = 0o040755
const REGULAR = 0o100000

const hex = (value: number): string => value.toString(16).padStart(8, '0')
const padding = (length: number): Buffer => Buffer.alloc(-length & 3)

/**
 * One regular file of an archive: its name there and the file of this system whose content and mode it has, or both
 * given.
 */
export type CpioFile = { name: string; source: string } | { name: string; content: string; mode: number }

/**
 * Writes an archive in the "new ASCII" format (cpio -H newc), which is what the kernel unpacks as initramfs
 * (Documentation/driver-api/early-userspace/buffer-format.rst). Parent directories are added as needed; the first of
 * two entries of the same name stays.
 */
export class CpioWriter {
  readonly #chunks: Buffer[] = []
  readonly #names = new Set<string>()
  #inode = 0

  directory(path: string): void {
    this.#add(path, DIRECTORY, Buffer.alloc(0))
  }

  /** A regular file. A link of this system becomes the file that it leads to. */
  file(file: CpioFile): void {
    if ('source' in file) {
      this.#add(file.name, REGULAR | (statSync(file.source).mode & 0o777), readFileSync(file.source))
    } else {
      this.#add(file.name, REGULAR | file.mode, Buffer.from(file.content))
    }
  }

  /** The archive with its trailer. */
  end(): Buffer {
    this.#entry('TRAILER!!!', 0, Buffer.alloc(0))
    return Buffer.concat(this.#chunks)
  }

  #add(path: string, mode: number, data: Buffer): void {
    const name = path.replace(/^\/+/, '')
    if (this.#names.has(name)) return
    this.#names.add(name)
    const parent = dirname(name)
    if (parent !== '.') this.directory(parent)
    this.#entry(name, mode, data)
  }

  #entry(name: string, mode: number, data: Buffer): void {
    const bytes = Buffer.from(`${name}\0`)
    // ino, mode, uid, gid, nlink, mtime, filesize, devmajor, devminor, rdevmajor, rdevminor, namesize, check
    const fields = [++this.#inode, mode, 0, 0, 1, 0, data.length, 0, 0, 0, 0, bytes.length, 0]
    const header = Buffer.from(`070701${fields.map(hex).join('')}`)
    this.#chunks.push(header, bytes, padding(header.length + bytes.length), data, padding(data.length))
  }
}
