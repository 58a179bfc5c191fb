/** Which CPUs the two ends run on. null: the only one there is, for both. */
export interface Placement {
  readonly frontEnd: number | null
  readonly backEnd: readonly number[] | null
  /** Whether the front end and each IOThread have a CPU of their own. */
  readonly enough: boolean
}

/** The second CPU for the front end's one thread, of the others as many as there are IOThreads, from the first on. */
export function placement(cpus: readonly number[], iothreads: number): Placement {
  if (cpus.length < 2) return { frontEnd: null, backEnd: null, enough: false }
  const frontEnd = cpus[1]!
  const backEnd = cpus.filter((cpu) => cpu !== frontEnd).slice(0, iothreads)
  return { frontEnd, backEnd, enough: backEnd.length === iothreads }
}
