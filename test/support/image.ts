import { truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

const MIB = 1024 * 1024

/** A sparse disk image of `mebibytes` in `directory`; its path. */
export const sparseImage = (directory: string, name: string, mebibytes: number): string => {
  const path = join(directory, name)
  writeFileSync(path, '')
  truncateSync(path, mebibytes * MIB)
  return path
}
