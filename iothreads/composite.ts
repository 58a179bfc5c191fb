import { ERRNO, memcmp, memcpy } from 'memfd-mmap'
import { ACTION } from '../scsi/index.js'
import { PENDING } from './block-io.js'
import { BOUNCE_BYTES, type Bounce, type BouncePool } from './bounce-pool.js'
import type { Driver } from './drivers/driver.js'
import type { Request } from './request.js'
import type { RequestTable } from './request-table.js'

/**
 * A block operation that takes several I/Os: yields while one is under way, is resumed with its result, and returns its
 * own (>= 0, or -errno). None of these is on the common path.
 */
export type Steps = Generator<void, number, number>

/** What the steps of an operation work with. */
export interface StepContext {
  readonly driver: Driver
  readonly table: RequestTable
  readonly pool: BouncePool
}

/** What a driver has answered, or will. */
export function* settled(result: number): Steps {
  return result === PENDING ? yield : result
}

/** Moves `length` bytes between a private or guest buffer and the medium, however few the kernel moves at a time. */
export function* whole(
  context: StepContext,
  request: Request,
  write: boolean,
  address: number,
  offset: number,
  length: number,
  sync: boolean,
): Steps {
  let moved = 0
  while (moved < length) {
    const result = yield* settled(
      context.driver.buffer(request, write, address + moved, offset + moved, length - moved, sync),
    )
    if (result < 0) return result
    // The medium ends early: it was cut behind our back.
    if (result === 0) return -ERRNO.EIO
    moved += result
  }
  return moved
}

/** Calls back for each stretch of the request's data-out or data-in segments within [from, from + length). */
export function* segments(
  table: RequestTable,
  request: Request,
  out: boolean,
  from: number,
  length: number,
): Generator<{ address: number; at: number; length: number }> {
  const all = table.segments
  let place = request.firstSegment + 2 * (out ? 0 : request.outSegments)
  let start = 0
  for (let i = 0; i < (out ? request.outSegments : request.inSegments) && start < from + length; i++, place += 2) {
    const size = all[place + 1]!
    const first = Math.max(start, from)
    const end = Math.min(start + size, from + length)
    if (end > first)
      yield {
        address: all[place]! + first - start,
        at: first - from,
        length: end - first,
      }
    start += size
  }
}

/** The task's READ or WRITE, segment by segment, from byte `moved` of it on: after the kernel moved a part, or with a guestOffset. */
export function* transferPieces(context: StepContext, request: Request, write: boolean, moved: number): Steps {
  const { offset, length, fua, guestOffset } = request.task
  for (const piece of segments(context.table, request, write, guestOffset + moved, length - moved)) {
    const result = yield* whole(context, request, write, piece.address, offset + moved + piece.at, piece.length, fua)
    if (result < 0) return result
  }
  return length
}

export function* withBounce(context: StepContext, body: (bounce: Bounce) => Steps): Steps {
  const bounce = context.pool.take()
  // The initiator hears TASK SET FULL, and tries again when something has ended.
  if (bounce === undefined) return -ERRNO.EAGAIN
  try {
    return yield* body(bounce)
  } finally {
    context.pool.give(bounce)
  }
}

/** COMPARE: 0 when the medium equals the data-out from guestOffset on, else 1 + the first byte that differs. */
export function comparePieces(context: StepContext, request: Request): Steps {
  const { offset, length, guestOffset } = request.task
  return withBounce(context, function* (bounce) {
    for (let done = 0; done < length; done += BOUNCE_BYTES) {
      const part = Math.min(BOUNCE_BYTES, length - done)
      const result = yield* whole(context, request, false, bounce.address, offset + done, part, false)
      if (result < 0) return result
      for (const piece of segments(context.table, request, true, guestOffset + done, part)) {
        if (memcmp(bounce.address + piece.at, piece.address, piece.length) === 0) continue
        return 1 + done + piece.at + firstDifference(bounce.address + piece.at, piece.address, piece.length)
      }
    }
    return 0
  })
}

/** The first byte in which two ranges differ, which they do; by halves. */
export function firstDifference(a: number, b: number, length: number): number {
  let start = 0
  while (length > 1) {
    const half = length >>> 1
    if (memcmp(a + start, b + start, half) !== 0) {
      length = half
    } else {
      start += half
      length -= half
    }
  }
  return start
}

/** VERIFY: the range can be read. */
export function verifyPieces(context: StepContext, request: Request): Steps {
  const { offset, length } = request.task
  return withBounce(context, function* (bounce) {
    for (let done = 0; done < length; done += BOUNCE_BYTES) {
      const result = yield* whole(
        context,
        request,
        false,
        bounce.address,
        offset + done,
        Math.min(BOUNCE_BYTES, length - done),
        false,
      )
      if (result < 0) return result
    }
    return 0
  })
}

/** WRITE_PATTERN: the first patternLength bytes of data-out, over and over. */
export function patternPieces(context: StepContext, request: Request): Steps {
  const { patternLength } = request.task
  return withBounce(context, function* (bounce) {
    for (const piece of segments(context.table, request, true, 0, patternLength)) {
      memcpy(bounce.address + piece.at, piece.address, piece.length)
    }
    return yield* fill(context, request, bounce, patternLength)
  })
}

/** WRITE_ZEROES where the medium cannot do it by itself. */
export function zeroPieces(context: StepContext, request: Request): Steps {
  return withBounce(context, function* (bounce) {
    bounce.bytes[0] = 0
    return yield* fill(context, request, bounce, 1)
  })
}

/** Writes the task's range with a pattern of BOUNCE_BYTES at most, over and over. */
export function fillRange(context: StepContext, request: Request, pattern: Uint8Array): Steps {
  return withBounce(context, function* (bounce) {
    bounce.bytes.set(pattern)
    return yield* fill(context, request, bounce, pattern.length)
  })
}

/**
 * Copies the task's `length` bytes from `sourceOffset` of another medium, or of this one, to its range. Ranges that overlap come out as if
 * the source had been read before anything was written.
 */
export function copyPieces(context: StepContext, request: Request, source: Driver, sourceOffset: number): Steps {
  const { offset, length } = request.task
  const from = { ...context, driver: source }
  const backwards = sourceOffset < offset
  return withBounce(context, function* (bounce) {
    for (let done = 0; done < length; ) {
      const part = Math.min(BOUNCE_BYTES, length - done)
      const at = backwards ? length - done - part : done
      const read = yield* whole(from, request, false, bounce.address, sourceOffset + at, part, false)
      if (read < 0) return read
      const written = yield* whole(context, request, true, bounce.address, offset + at, part, false)
      if (written < 0) return written
      done += part
    }
    return length
  })
}

/** Writes the task's range with the first `pattern` bytes of the bounce buffer, repeated. */
function* fill(context: StepContext, request: Request, bounce: Bounce, pattern: number): Steps {
  const { offset, length, fua } = request.task
  const chunk = Math.min(BOUNCE_BYTES - (BOUNCE_BYTES % pattern), length)
  for (let filled = pattern; filled < chunk; filled *= 2)
    bounce.bytes.copyWithin(filled, 0, Math.min(filled, chunk - filled))
  for (let done = 0; done < length; done += chunk) {
    const result = yield* whole(
      context,
      request,
      true,
      bounce.address,
      offset + done,
      Math.min(chunk, length - done),
      fua,
    )
    if (result < 0) return result
  }
  return length
}

/** DISCARD or WRITE_ZEROES: by deallocation or by zeroing, else by writing zeros. */
export function* zeroRange(context: StepContext, request: Request, deallocate: boolean): Steps {
  const { offset, length, fua } = request.task
  const { driver } = context
  const result = yield* settled(
    deallocate ? driver.discard(request, offset, length) : driver.zero(request, offset, length),
  )
  if (result === -ERRNO.EOPNOTSUPP) return yield* zeroPieces(context, request)
  if (result < 0 || !fua) return result
  // Its failure is that of a flush, whatever the command was.
  request.task.action = ACTION.FLUSH
  return yield* settled(driver.flush(request))
}
