import { putU64 } from './bytes.js'

/** More than any answer that is put together per command needs. */
const CAPACITY = 4096

/**
 * Where the data-in of commands that answer at once is put together. Whatever does not fit is dropped, yet counted in
 * `length`: the writers need no check, and a length field can tell the whole size.
 */
export class Scratch {
  readonly bytes = new Uint8Array(CAPACITY)
  readonly view = new DataView(this.bytes.buffer)
  /** Bytes written since begin(). */
  length = 0

  /** Starts anew. */
  begin(): this {
    this.length = 0
    return this
  }

  u8(value: number): this {
    if (this.length < CAPACITY) this.bytes[this.length] = value
    this.length += 1
    return this
  }

  u16(value: number): this {
    return this.u8(value >>> 8).u8(value)
  }

  u24(value: number): this {
    return this.u8(value >>> 16).u16(value)
  }

  u32(value: number): this {
    return this.u16(value >>> 16).u16(value)
  }

  u64(value: number): this {
    if (this.length + 8 <= CAPACITY) putU64(this.view, this.length, value)
    this.length += 8
    return this
  }

  zeros(count: number): this {
    this.bytes.fill(0, this.length, this.length + count)
    this.length += count
    return this
  }

  /** Bytes as they are. */
  raw(bytes: Uint8Array): this {
    for (let i = 0; i < bytes.length; i++) this.u8(bytes[i]!)
    return this
  }

  /** Overwrites a byte that was written before. */
  setU8(at: number, value: number): void {
    this.bytes[at] = value
  }

  /** Overwrites a big-endian number that was written before. */
  setU16(at: number, value: number): void {
    this.view.setUint16(at, value)
  }

  setU32(at: number, value: number): void {
    this.view.setUint32(at, value)
  }
}

/** The thread's one: an answer in it is valid until the next command. */
export const scratch = new Scratch()
