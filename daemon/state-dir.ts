/** The directory of what outlives a restart (--state-dir). */
import { mkdirSync, readFileSync, statSync } from 'node:fs'
import { errorCode, errorReason, StartError } from './errors.js'

const BOOT_ID = '/proc/sys/kernel/random/boot_id'
const MODE = 0o700

export interface StateDir {
  readonly path: string
  /** Tells one boot of the host from another. */
  readonly bootId: string
}

/** Opens the directory, and makes it if its parent is there. @throws StartError */
export function openStateDir(path: string): StateDir {
  try {
    try {
      mkdirSync(path, MODE)
    } catch (error) {
      if (errorCode(error) !== 'EEXIST') throw error
      if (!statSync(path).isDirectory()) throw new StartError('ENOTDIR', 'not a directory')
    }
    return { path, bootId: readFileSync(BOOT_ID, 'utf8').trim() }
  } catch (error) {
    const why = error instanceof StartError ? error.message : errorReason(error)
    throw new StartError(errorCode(error), `state-dir: ${path}: ${why}`, { cause: error })
  }
}
