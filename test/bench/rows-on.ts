import { placement } from './placement.js'
import { ROW_SETS, type Row } from './row.js'

/** For tests: rows of a machine with `cpus`, in which k IOThreads reach 1000 * k^2 IOPS. */
export function rowsOn(cpus: readonly number[], cases = ROW_SETS.scaling): Row[] {
  return cases.map((c) => {
    const { frontEnd, backEnd } = placement(cpus, c.iothreads)
    return {
      ...c,
      iops: 1000 * c.iothreads ** 2,
      p50_us: 1.26,
      p99_us: 9.94,
      spread: 0,
      runs: 5,
      kicks_per_request: 0.0004,
      cpu: 1,
      iothread_cpu: 0.5,
      back_end_cpus: backEnd,
      front_end_cpu: frontEnd,
      heap_bytes_per_request: 0,
      collections: 0,
      ring_round_trip_ns: [1, 1],
      ref: null,
      ref_iops: null,
      ratio: null,
    }
  })
}
