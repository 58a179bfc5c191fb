import { closeSync, constants, openSync, realpathSync, type Stats, statSync } from 'node:fs'
import { errorCode, errorReason } from './errors.js'

export interface Image {
  /** Absolute, without symbolic links. */
  readonly path: string
  /** Bytes. */
  readonly size: number
}

/**
 * Looks at a disk image before anything is started: it exists, is a regular file, can be opened as it will be used, and
 * holds a whole number of blocks. Returns the fault as text where it is not so.
 */
export function inspectImage(path: string, readOnly: boolean, blockSize: number): Image | string {
  try {
    const real = realpathSync(path)
    const stats = statSync(real)
    if (!stats.isFile()) return `${path}: is ${kind(stats)}, expected a regular file`
    closeSync(openSync(real, (readOnly ? constants.O_RDONLY : constants.O_RDWR) | constants.O_NONBLOCK))
    const { size } = stats
    if (size === 0) return `${path}: is empty, expected a disk image`
    if (size % blockSize !== 0) return `${path}: its size ${size} is not a multiple of the block size ${blockSize}`
    return { path: real, size }
  } catch (error) {
    const hint = !readOnly && READ_ONLY_HELPS.has(errorCode(error)) ? '; read-only=on would need no write access' : ''
    return `${path}: ${errorReason(error)}${hint}`
  }
}

const READ_ONLY_HELPS = new Set(['EACCES', 'EPERM', 'EROFS', 'ETXTBSY'])

function kind(stats: Stats): string {
  if (stats.isDirectory()) return 'a directory'
  if (stats.isFIFO()) return 'a FIFO'
  if (stats.isSocket()) return 'a socket'
  if (stats.isCharacterDevice()) return 'a character device'
  if (stats.isBlockDevice()) return 'a block device (not supported by this version)'
  return 'neither file nor device'
}
