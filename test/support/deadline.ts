/** A wait that did not end in time. */
export class DeadlineError extends Error {
  readonly code = 'VUS_TEST_DEADLINE'

  constructor(what: string, milliseconds: number) {
    super(`${what}: not within ${milliseconds} ms`)
    this.name = 'DeadlineError'
  }
}

/** A failure with what helps to understand it: tap shows the properties of an error. */
export class ReportedError extends Error {
  readonly report: string

  constructor(message: string, report: string) {
    super(message)
    this.name = 'ReportedError'
    this.report = report
  }
}

/** Settles as `promise` does, or rejects with a DeadlineError after `milliseconds`. */
export const within = <T>(milliseconds: number, what: string, promise: Promise<T>): Promise<T> =>
  new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new DeadlineError(what, milliseconds)), milliseconds)
    promise.then(resolve, reject).finally(() => clearTimeout(timer))
  })

/**
 * Asks `probe` again and again until it answers something other than undefined. For state that announces no event,
 * such as the entries of /proc/PID/fd.
 */
export const eventually = <T>(
  milliseconds: number,
  what: string,
  probe: () => T | undefined | Promise<T | undefined>,
): Promise<T> =>
  new Promise((resolve, reject) => {
    const end = performance.now() + milliseconds
    const ask = async (): Promise<void> => {
      const answer = await probe()
      if (answer !== undefined) resolve(answer)
      else if (performance.now() > end) reject(new DeadlineError(what, milliseconds))
      else setTimeout(() => ask().catch(reject), 20)
    }
    ask().catch(reject)
  })

/** Settles as `promise` does; a failure gets the report that is asked for then. */
export const reported = async <T>(promise: Promise<T>, report: () => string): Promise<T> => {
  try {
    return await promise
  } catch (error) {
    throw new ReportedError(error instanceof Error ? error.message : String(error), report())
  }
}
