/**
 * Runs `body` and, before its atomic access number `at` (from 0), `other`: what a second thread may do in the meantime.
 * For orders of single steps in one thread. Answers what both returned; `reached` is false if there were no so many
 * accesses, and then `other` ran behind `body`.
 */
export function interleave<A, B>(body: () => A, at: number, other: () => B): { body: A; other: B; reached: boolean } {
  const { load, store } = Atomics
  const ran: { value: B }[] = []
  let left = at
  const before = (): void => {
    if (left-- !== 0) return
    restore()
    ran.push({ value: other() })
  }
  const restore = (): void => {
    Object.assign(Atomics, { load, store })
  }
  Object.assign(Atomics, {
    load: (array: Int32Array, index: number): number => {
      before()
      return load(array, index)
    },
    store: (array: Int32Array, index: number, value: number): number => {
      before()
      return store(array, index, value)
    },
  })
  try {
    const value = body()
    const reached = ran.length > 0
    restore()
    const done = ran[0] ?? { value: other() }
    return { body: value, other: done.value, reached }
  } finally {
    restore()
  }
}
