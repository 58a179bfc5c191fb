import { addressOf, ERRNO, memcpy } from 'memfd-mmap'
import { PENDING } from '../../../iothreads/block-io.js'
import type { Driver } from '../../../iothreads/drivers/driver.js'
import type { Request } from '../../../iothreads/request.js'
import type { RequestTable } from '../../../iothreads/request-table.js'

export type Operation = 'transfer' | 'buffer' | 'flush' | 'discard' | 'zero' | 'prefetch'

/** What a driver was asked to do. */
export interface Call {
  readonly operation: Operation
  readonly write: boolean
  readonly offset: number
  readonly length: number
  readonly sync: boolean
  readonly request: Request
}

/**
 * A driver over private bytes that can be told how to fare: to end later, to move a part only, to fail. The nth call, of
 * any kind, is `calls[n]`.
 */
export class FakeDriver implements Driver {
  readonly delayLine = null
  readonly bytes: Uint8Array
  readonly calls: Call[] = []
  /** Ends nothing at once: `finish` does, in order. */
  pending = false
  /** Most bytes that one transfer moves. */
  limit = Number.POSITIVE_INFINITY
  /** Whether discard and zero are there. */
  deallocates = true
  /** Errno by number of the call. */
  readonly failures = new Map<number, number>()
  readonly #waiting: { request: Request; result: number }[] = []
  readonly #address: number

  constructor(size: number) {
    this.bytes = new Uint8Array(new ArrayBuffer(size))
    this.#address = addressOf(this.bytes)
  }

  get waiting(): number {
    return this.#waiting.length
  }

  /** Takes the oldest operation that has not ended. */
  finish(): { request: Request; result: number } {
    return this.#waiting.shift()!
  }

  #end(call: Call, act: () => number): number {
    const errno = this.failures.get(this.calls.push(call) - 1)
    const result = errno === undefined ? act() : -errno
    if (!this.pending) return result
    this.#waiting.push({ request: call.request, result })
    return PENDING
  }

  transfer(request: Request, table: RequestTable, write: boolean): number {
    const { offset, length, fua: sync } = request.task
    return this.#end({ operation: 'transfer', write, offset, length, sync, request }, () => {
      const moved = Math.min(length, this.limit, Math.max(0, this.bytes.length - offset))
      let at = request.firstSegment + (write ? 0 : 2 * request.outSegments)
      for (let done = 0; done < moved; at += 2) {
        const part = Math.min(table.segments[at + 1]!, moved - done)
        this.#copy(write, table.segments[at]!, offset + done, part)
        done += part
      }
      return moved
    })
  }

  buffer(request: Request, write: boolean, address: number, offset: number, length: number, sync: boolean): number {
    return this.#end({ operation: 'buffer', write, offset, length, sync, request }, () => {
      const moved = Math.min(length, this.limit, Math.max(0, this.bytes.length - offset))
      this.#copy(write, address, offset, moved)
      return moved
    })
  }

  #copy(write: boolean, address: number, offset: number, length: number): void {
    if (write) memcpy(this.#address + offset, address, length)
    else memcpy(address, this.#address + offset, length)
  }

  flush(request: Request): number {
    return this.#end({ operation: 'flush', write: true, offset: 0, length: 0, sync: false, request }, () => 0)
  }

  discard(request: Request, offset: number, length: number): number {
    return this.#clear('discard', request, offset, length)
  }

  zero(request: Request, offset: number, length: number): number {
    return this.#clear('zero', request, offset, length)
  }

  prefetch(request: Request, offset: number, length: number): number {
    return this.#end({ operation: 'prefetch', write: false, offset, length, sync: false, request }, () => 0)
  }

  /** Bytes of 0 are holes, of any length. */
  extent(offset: number, length: number, data: boolean): number {
    let count = 0
    while (count < length && (this.bytes[offset + count] !== 0) === data) count++
    return count
  }

  #clear(operation: Operation, request: Request, offset: number, length: number): number {
    return this.#end({ operation, write: true, offset, length, sync: false, request }, () => {
      if (!this.deallocates) return -ERRNO.EOPNOTSUPP
      this.bytes.fill(0, offset, offset + length)
      return 0
    })
  }
}
