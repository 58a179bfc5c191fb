import { closeSync, fsyncSync, mkdtempSync, openSync, readSync, rmSync, statfsSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Teardown } from '../support/teardown.js'

const TMPFS_MAGIC = 0x01021994
const CHUNK = 2 ** 20

/** A directory for the run, on a disk file system if there is one: io_uring has no fast way into tmpfs. */
export function benchDir(t: Teardown): string {
  const parent = [tmpdir(), process.cwd()].find((path) => statfsSync(path).type !== TMPFS_MAGIC) ?? tmpdir()
  const path = mkdtempSync(join(parent, 'vus-bench-'))
  t.teardown(() => rmSync(path, { recursive: true, force: true }))
  return path
}

/** Writes every byte of an image, so that no hole makes reads cheap, and leaves it in the page cache. */
export function createImage(path: string, bytes: number): void {
  const chunk = new Uint32Array(CHUNK / 4)
  let x = 0x9e3779b9
  const fd = openSync(path, 'w+')
  try {
    for (let at = 0; at < bytes; at += CHUNK) {
      for (let i = 0; i < chunk.length; i++) {
        x ^= x << 13
        x ^= x >>> 17
        x ^= x << 5
        chunk[i] = x
      }
      writeSync(fd, chunk, 0, CHUNK, at)
    }
    fsyncSync(fd)
  } finally {
    closeSync(fd)
  }
  warm(path)
}

/** Reads the whole file once, so that it is in the page cache as far as memory allows. */
export function warm(path: string): void {
  const chunk = new Uint8Array(CHUNK)
  const fd = openSync(path, 'r')
  try {
    while (readSync(fd, chunk) > 0);
  } finally {
    closeSync(fd)
  }
}
