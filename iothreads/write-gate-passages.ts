import { ACTION } from '../scsi/index.js'

/** How an operation passes. */
export const PASSAGE = { FREE: 0, SHARED: 1, ALONE: 2 } as const

const WRITING = [ACTION.WRITE, ACTION.DISCARD, ACTION.WRITE_ZEROES, ACTION.WRITE_PATTERN] as const
const READING = [ACTION.READ, ACTION.COMPARE, ACTION.VERIFY] as const
const ALONE = [ACTION.COMPARE_AND_WRITE, ACTION.OR_WRITE, ACTION.WRITE_ATOMIC] as const

/** By ACTION. @param reads whether those that only read are counted, too: where somebody may write atomically */
function passages(reads: boolean): Uint8Array {
  const table = new Uint8Array(1 + Math.max(...Object.values(ACTION)))
  for (const action of WRITING) table[action] = PASSAGE.SHARED
  for (const action of ALONE) table[action] = PASSAGE.ALONE
  if (reads) for (const action of READING) table[action] = PASSAGE.SHARED
  return table
}

/** Where what only reads is not counted, and where it is. */
export const WRITES_PASS = passages(false)
export const ALL_PASS = passages(true)
