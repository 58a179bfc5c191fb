import { readFileSync } from 'node:fs'
import { openFiles, sharedMappings } from '../proc.js'

/** Bytes of address space that this process has mapped. */
export function ownAddressSpace(): number {
  return Number(/^VmSize:\s+(\d+) kB/m.exec(readFileSync('/proc/self/status', 'latin1'))![1]) * 1024
}

/** Descriptors that event engines of this process watch: what the kernel tells of their epolls and rings. */
export function watches(): number {
  let count = 0
  for (const [fd, name] of openFiles(process.pid)) {
    const text = /eventpoll|io_uring/.test(name) ? readFileSync(`/proc/self/fdinfo/${fd}`, 'latin1') : ''
    // Our epolls are edge-triggered, libuv's are not; IORING_OP_POLL_ADD is 6.
    count += (text.match(/^tfd: .* events: +8|^ +op=6,/gm) ?? []).length
  }
  return count
}

/** What this process holds open and has mapped shared, to be compared before and after. */
export function holdings(): { files: string[]; mappings: number } {
  const files = [...openFiles(process.pid).values()]
  // Node opens and closes files and pipes of its own; eventfds, memfds, rings and images are what we hold.
  const ours = files.filter((name) => !/^(pipe|socket):|\/proc\/|^\/dev\//.test(name))
  return { files: ours.sort(), mappings: sharedMappings(process.pid).length }
}
