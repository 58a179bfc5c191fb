/** Whether VUS_LONG asks for long runs. */
export const LONG = process.env.VUS_LONG !== undefined

/** How often something random is tried: `count` times, or 50 times as often with VUS_LONG. */
export function rounds(count: number): number {
  return LONG ? 50 * count : count
}
