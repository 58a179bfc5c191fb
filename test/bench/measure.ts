import { clockMonotonicNs, signalEventfd } from 'memfd-mmap'
import type { Load } from './load.js'

/** One measured run. */
export interface Run {
  readonly requests: number
  readonly seconds: number
  readonly kicks: number
}

/** Looks at the clock after so many passes over the queues. */
const PASSES = 256
const STALL_NS = 5e9

/** Polls the queues and keeps them full for `seconds`. Throws when the device completes nothing for five seconds. */
export function run(loads: readonly Load[], kickFds: readonly number[], seconds: number): Run {
  const count = loads.length
  const kicksBefore = kicksOf(loads)
  const start = clockMonotonicNs()
  const end = start + seconds * 1e9
  let now = start
  let moved = start
  let requests = 0
  while (now < end) {
    const before = requests
    for (let pass = 0; pass < PASSES; pass++) {
      for (let i = 0; i < count; i++) {
        const load = loads[i]!
        const done = load.turn()
        if (done === 0) continue
        requests += done
        if (load.wantsKick) {
          load.kicks++
          signalEventfd(kickFds[i]!)
        }
      }
    }
    now = clockMonotonicNs()
    if (requests !== before) moved = now
    else if (now - moved > STALL_NS) throw new Error('the device completes nothing')
  }
  const failed = loads.find((load) => load.failed > 0)
  if (failed !== undefined) throw new Error(`${failed.failed} requests failed, the first with ${failed.firstFailure}`)
  return { requests, seconds: (now - start) / 1e9, kicks: kicksOf(loads) - kicksBefore }
}

/** Submits every slot of every queue. */
export function startLoads(loads: readonly Load[], kickFds: readonly number[]): void {
  for (let i = 0; i < loads.length; i++) if (loads[i]!.start()) signalEventfd(kickFds[i]!)
}

/** Lets everything in flight end. */
export function drainLoads(loads: readonly Load[]): void {
  const end = clockMonotonicNs() + STALL_NS
  for (const load of loads) {
    while (load.drain() > 0)
      if (clockMonotonicNs() > end) throw new Error(`${load.driver.outstanding} requests never ended`)
  }
}

function kicksOf(loads: readonly Load[]): number {
  let kicks = 0
  for (const load of loads) kicks += load.kicks
  return kicks
}
