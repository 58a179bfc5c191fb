import { readFileSync } from 'node:fs'
import { openFiles, sharedMappings } from '../proc.js'

/** Bytes of address space that this process has mapped. */
export function ownAddressSpace(): number {
  return Number(/^VmSize:\s+(\d+) kB/m.exec(readFileSync('/proc/self/status', 'latin1'))![1]) * 1024
}

/** What this process holds open and has mapped shared, to be compared before and after. */
export function holdings(): { files: string[]; mappings: number } {
  const files = [...openFiles(process.pid).values()]
  // Node opens and closes files and pipes of its own; eventfds, memfds, rings and images are what we hold.
  const ours = files.filter((name) => !/^(pipe|socket):|\/proc\/|^\/dev\//.test(name))
  return { files: ours.sort(), mappings: sharedMappings(process.pid).length }
}
