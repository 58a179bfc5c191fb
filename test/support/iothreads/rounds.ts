import t from 'tap'

/** Whether VUS_LONG asks for long runs: `VUS_LONG=1 npx tap --timeout=3600 dist/test/iothreads`. */
export const LONG = process.env.VUS_LONG !== undefined
if (LONG) t.setTimeout(3_600_000)

/** How often something random is tried: `count` times, or 50 times as often with VUS_LONG. */
export function rounds(count: number): number {
  return LONG ? 50 * count : count
}
