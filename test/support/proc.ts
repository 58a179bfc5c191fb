import { readdirSync, readFileSync, readlinkSync } from 'node:fs'

/** The open descriptors of a process: number -> what it refers to. */
export const openFiles = (pid: number): Map<number, string> => {
  const files = new Map<number, string>()
  for (const name of readdirSync(`/proc/${pid}/fd`)) {
    try {
      files.set(Number(name), readlinkSync(`/proc/${pid}/fd/${name}`))
    } catch {
      // closed between the two calls
    }
  }
  return files
}

/**
 * The lines of /proc/PID/maps that are shared mappings (guest memory, rings, inflight regions, images; no heap, no
 * stacks).
 */
export const sharedMappings = (pid: number): string[] =>
  readFileSync(`/proc/${pid}/maps`, 'utf8')
    .split('\n')
    .filter((line) => /^\S+ ...s /.test(line))

/** How much of a mapping (a line of /proc/PID/maps) the process itself has touched, in bytes; undefined: it is gone. */
export const touchedBytes = (pid: number, mapping: string): number | undefined => {
  const lines = readFileSync(`/proc/${pid}/smaps`, 'utf8').split('\n')
  const start = lines.indexOf(mapping)
  if (start < 0) return undefined
  const rss = lines.slice(start).find((line) => line.startsWith('Rss:'))
  return Number(/\d+/.exec(rss ?? '')?.[0]) * 1024
}

/** How much a process has mapped in huge pages of 2 MiB, in bytes. */
export const hugeBytes = (pid: number): number => {
  let bytes = 0
  let size = 0
  for (const line of readFileSync(`/proc/${pid}/smaps`, 'utf8').split('\n')) {
    const [name, number] = line.split(/\s+/)
    if (name === 'Size:') size = Number(number) * 1024
    else if (name === 'KernelPageSize:' && Number(number) === 2048) bytes += size
  }
  return bytes
}
