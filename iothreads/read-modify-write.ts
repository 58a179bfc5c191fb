import { memcmp, memcpy } from 'memfd-mmap'
import { ACTION } from '../scsi/index.js'
import { BOUNCE_BYTES, type Bounce } from './bounce-pool.js'
import { firstDifference, type StepContext, type Steps, segments, whole, withBounce } from './composite.js'
import type { Request } from './request.js'

// These are run inside the write gate. What the guest has in its buffers is copied once: it may change it at any time.

/** Copies `length` bytes of data-out, from `from` on, to a private buffer. */
function gather({ table }: StepContext, request: Request, bounce: Bounce, from: number, length: number): void {
  for (const piece of segments(table, request, true, from, length)) {
    memcpy(bounce.address + piece.at, piece.address, piece.length)
  }
}

/** Reads from the medium; a failure is that of a read, whatever the command is. */
function* fetch(context: StepContext, request: Request, into: Bounce, offset: number, length: number): Steps {
  const result = yield* whole(context, request, false, into.address, offset, length, false)
  if (result < 0) request.task.action = ACTION.READ
  return result
}

/**
 * COMPARE_AND_WRITE: 0 when it was written, else 1 + the first byte of data-out that differs. `2 * task.length` is BOUNCE_BYTES at
 * most.
 */
export function compareAndWritePieces(context: StepContext, request: Request): Steps {
  const { offset, length, fua } = request.task
  return withBounce(context, function* (data) {
    gather(context, request, data, 0, 2 * length)
    const compared = yield* withBounce(context, function* (medium) {
      const result = yield* fetch(context, request, medium, offset, length)
      if (result < 0 || memcmp(medium.address, data.address, length) === 0) return Math.min(result, 0)
      return 1 + firstDifference(medium.address, data.address, length)
    })
    if (compared !== 0) return compared
    return Math.min(yield* whole(context, request, true, data.address + length, offset, length, fua), 0)
  })
}

/** OR_WRITE. */
export function orWritePieces(context: StepContext, request: Request): Steps {
  const { offset, length, fua } = request.task
  return withBounce(context, (medium) =>
    withBounce(context, function* (data) {
      const words = new Uint32Array(medium.bytes.buffer, medium.bytes.byteOffset, BOUNCE_BYTES / 4)
      const bits = new Uint32Array(data.bytes.buffer, data.bytes.byteOffset, BOUNCE_BYTES / 4)
      for (let done = 0; done < length; done += BOUNCE_BYTES) {
        const part = Math.min(BOUNCE_BYTES, length - done)
        const read = yield* fetch(context, request, medium, offset + done, part)
        if (read < 0) return read
        gather(context, request, data, done, part)
        for (let i = 0; i < part / 4; i++) words[i]! |= bits[i]!
        const written = yield* whole(context, request, true, medium.address, offset + done, part, fua)
        if (written < 0) return written
      }
      return length
    }),
  )
}
