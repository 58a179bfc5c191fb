/** Words that the two threads of a packed ring share: counts of notifications each way, and what the tests want to know. */
export const BELL = { KICKS: 0, INTERRUPTS: 1, DRIVER_SLEEPS: 2, COUNT: 3 } as const

/** What the driver's thread is given. */
export interface PackedThreadData {
  readonly size: number
  readonly eventIdx: boolean
  /** Of the ring's memory. */
  readonly address: number
  readonly bytes: number
  /** How many chains to get through. */
  readonly chains: number
  readonly bells: Int32Array
}
