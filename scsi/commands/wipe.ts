import type { Task } from '../task.js'
import type { Effect, UnitServer } from '../unit-server.js'
import { FLAG } from '../unit-state.js'
import { wipedSense } from '../wiped.js'

/** Bytes that are written, or deallocated, between two looks at how far it is. */
const PIECE = { WRITE: 4 * 2 ** 20, DEALLOCATE: 2 ** 30 } as const

/** How a medium is to be written all over. */
export interface Wipe {
  /** For each pass a pattern that is repeated, from each block on anew; null: zeros, by deallocation where that can be. */
  readonly passes: readonly (Uint8Array<ArrayBuffer> | null)[]
  /** The FLAG that is set meanwhile: it keeps other commands away. */
  readonly flag: number
  /** The FLAG that says that such a command has failed. */
  readonly failure: number
  /** Whether the command ends as soon as this has begun. */
  readonly immediate: boolean
}

/** Fails a command that was forwarded before another one began to write the whole medium. Whether there is one. */
export function refuseWhileWiping(task: Task, { unit: { state } }: UnitServer): boolean {
  if ((state.flags & (FLAG.FORMATTING | FLAG.SANITIZING)) === 0) return false
  task.failWithProgress(wipedSense(state.flags), state.progress)
  return true
}

/**
 * Writes the whole medium, as SANITIZE and FORMAT UNIT have it done: commands that were admitted before end first, those that come are
 * refused, and REQUEST SENSE tells how far it is. Ends with 0 when everything is durable, or with -errno.
 */
export function* wipe(
  { unit }: UnitServer,
  { passes, flag, failure, immediate }: Wipe,
): Generator<Effect, number, number> {
  const { state, blockSize } = unit
  const length = state.capacity * blockSize
  state.progress = 0
  state.set(flag)
  // Until it has ended in one way or the other, also if that is the end of the process
  let failed = true
  try {
    yield { type: 'fence' }
    yield { type: 'detach', answer: immediate, recallable: false }
    for (const [pass, pattern] of passes.entries()) {
      const block = pattern === null ? null : repeated(pattern, blockSize)
      const piece = block === null ? PIECE.DEALLOCATE : PIECE.WRITE
      for (let offset = 0; offset < length; offset += piece) {
        const range = { offset, length: Math.min(piece, length - offset) }
        const result = yield block === null ? { type: 'zero', ...range } : { type: 'fill', ...range, pattern: block }
        if (result < 0) return result
        state.progress = (pass + (offset + range.length) / length) / passes.length
      }
    }
    const result = yield { type: 'flush' }
    failed = result < 0
    return result
  } finally {
    state.change(flag | failure, failed ? failure : 0)
  }
}

/** One logical block of the pattern: the last copy of it is cut off (SBC-3 5.22.2.2). */
function repeated(pattern: Uint8Array, blockSize: number): Uint8Array<ArrayBuffer> {
  const block = new Uint8Array(blockSize)
  for (let at = 0; at < blockSize; at++) block[at] = pattern[at % pattern.length]!
  return block
}
