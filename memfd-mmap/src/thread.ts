import { check } from './errno.js'
import { declare, result } from './libc.js'

const prctl = declare('prctl', 'int', ['int', 'str', 'long', 'long', 'long'])
const schedSetaffinity = declare('sched_setaffinity', 'int', ['int', 'size_t', 'void *'])
const schedGetaffinity = declare('sched_getaffinity', 'int', ['int', 'size_t', 'void *'])

const PR_SET_NAME = 15
/** cpu_set_t: one bit per CPU. */
const CPU_SET_BYTES = 1024
const MAX_CPUS = CPU_SET_BYTES * 8

/** Names the calling thread as top -H and /proc show it; the kernel keeps 15 bytes. */
export function setThreadName(name: string): void {
  check(result(prctl(PR_SET_NAME, name, 0, 0, 0)), 'prctl(PR_SET_NAME)')
}

/** Binds thread `tid` (0: the calling one) to CPUs 0..8191. EINVAL when none of them is there or allowed. */
export function setAffinity(tid: number, cpus: readonly number[]): void {
  const mask = new Uint8Array(CPU_SET_BYTES)
  for (const cpu of cpus) {
    if (!Number.isInteger(cpu) || cpu < 0 || cpu >= MAX_CPUS) throw new RangeError(`CPU ${cpu}`)
    mask[cpu >> 3]! |= 1 << (cpu & 7)
  }
  check(result(schedSetaffinity(tid, CPU_SET_BYTES, mask)), 'sched_setaffinity')
}

/** CPUs that thread `tid` (0: the calling one) may run on, ascending. */
export function getAffinity(tid: number): number[] {
  const mask = new Uint8Array(CPU_SET_BYTES)
  check(result(schedGetaffinity(tid, CPU_SET_BYTES, mask)), 'sched_getaffinity')
  const cpus: number[] = []
  for (let cpu = 0; cpu < MAX_CPUS; cpu++) {
    if ((mask[cpu >> 3]! & (1 << (cpu & 7))) !== 0) cpus.push(cpu)
  }
  return cpus
}
