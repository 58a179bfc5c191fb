import type { Daemon } from './daemon.js'
import { eventually } from './deadline.js'

const SETTLE = 10_000

/** What a daemon holds: open descriptors (what they refer to) and shared mappings (lines of /proc/PID/maps). */
export interface Footprint {
  files: string[]
  mappings: string[]
}

export const footprint = (daemon: Daemon): Footprint => ({
  files: [...daemon.openFiles().values()],
  mappings: daemon.sharedMappings(),
})

/**
 * Waits until the daemon holds no more descriptors and no more mappings than `before`: it learns of the end of a guest
 * by itself. What it holds at last is returned, within the bounds or not.
 */
export const settledFootprint = async (daemon: Daemon, before: Footprint): Promise<Footprint> => {
  const settled = (): Footprint | undefined => {
    const now = footprint(daemon)
    const grown = now.files.length > before.files.length || now.mappings.length > before.mappings.length
    return grown ? undefined : now
  }
  return eventually(SETTLE, 'no descriptor or mapping left over', settled).catch(() => footprint(daemon))
}
