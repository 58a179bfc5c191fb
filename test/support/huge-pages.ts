import { readFileSync, writeFileSync } from 'node:fs'
import { close, createHugeMemfd, Mapping } from 'memfd-mmap'
import type { Teardown } from './teardown.js'

export const HUGE_PAGE = 2 ** 21

const OVERCOMMIT = '/proc/sys/vm/nr_overcommit_hugepages'

const allowMore = (count: number): void => {
  const before = Number(readFileSync(OVERCOMMIT, 'utf8'))
  writeFileSync(OVERCOMMIT, String(Math.max(0, before + count)))
}

/** Why `count` huge pages of 2 MiB cannot be had now; undefined: they can. */
const missing = (count: number): string | undefined => {
  let fd = -1
  try {
    fd = createHugeMemfd('huge-pages-probe', count * HUGE_PAGE)
    // Takes them, without touching them.
    Mapping.map({ fd, length: count * HUGE_PAGE }).unmap()
    return undefined
  } catch (error) {
    return `no ${count} huge pages: ${(error as Error).message}`
  } finally {
    if (fd >= 0) close(fd)
  }
}

/**
 * Lets the machine make `count` huge pages when they are asked for, as long as this test runs, unless it has so many already. Answers
 * why they cannot be had, if they cannot.
 */
export function hugePages(t: Teardown, count: number): string | undefined {
  if (missing(count) === undefined) return undefined
  try {
    allowMore(count)
  } catch (error) {
    return `no huge pages: ${(error as Error).message}`
  }
  t.teardown(() => allowMore(-count))
  return missing(count)
}
