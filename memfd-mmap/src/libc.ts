import { endianness } from 'node:os'
import koffi from 'koffi'

// Every binary layout of this package is written for the 64-bit little-endian Linux ABIs that Node is built for.
if (process.platform !== 'linux' || endianness() !== 'LE' || koffi.sizeof('long') !== 8) {
  throw new Error('memfd-mmap needs a 64-bit little-endian Linux')
}

// Symbols of the process itself, so the C library's file name (glibc, musl) does not matter.
const process_ = koffi.load(null)

/**
 * Declares a C function whose arguments and result are Numbers. Pointers are 'long', lengths 'size_t': addresses go in
 * and out as plain Numbers. 'str' copies a string, 'void *' takes a typed array that the callee does not keep.
 */
export function declare(name: string, result: 'int' | 'long' | 'void', parameters: readonly string[]): NumberFunction {
  return process_.func(name, result, parameters as string[])
}

/**
 * The same as a function that runs on a thread of Node's pool and takes a callback as its last argument. errno is not to be had.
 */
export function declareAsync(name: string, result: 'int' | 'long', parameters: readonly string[]): AsyncNumberFunction {
  return process_.func(name, result, parameters as string[]).async
}

// biome-ignore lint/suspicious/noExplicitAny: as below
type AsyncNumberFunction = (...parameters: any[]) => void

// biome-ignore lint/suspicious/noExplicitAny: each wrapper states its own parameter types
type NumberFunction = (...parameters: any[]) => number

/** errno of the call just made, negated. Must be read before anything else runs on this thread. */
export function failure(): number {
  return -koffi.errno()
}

/** The result as it is when >= 0, else -errno. */
export function result(value: number): number {
  return value >= 0 ? value : -koffi.errno()
}

/**
 * Address of the first byte of a buffer. It holds as long as the buffer is reachable and neither detached nor resized:
 * V8 keeps the memory of an ArrayBuffer in place. Asking for `.buffer` first moves the content of a small typed array
 * out of V8's moving heap.
 */
export function addressOf(buffer: ArrayBufferLike | ArrayBufferView): number {
  const view = ArrayBuffer.isView(buffer) ? buffer : new Uint8Array(buffer)
  return view.buffer.byteLength === 0 ? 0 : Number(koffi.address(view))
}

/**
 * Scratch memory of this thread for structures that calls fill in at set-up time; nothing may rely on it across two
 * calls.
 */
export const scratch = new ArrayBuffer(4096)
export const scratchWords = new Uint32Array(scratch)
export const scratchBytes = new Uint8Array(scratch)
export const scratchAddress = addressOf(scratch)

/** Writes a non-negative Number below 2^53 as a little-endian u64 at word index `at` (8-byte aligned when even). */
export function putU64(words: Uint32Array, at: number, value: number): void {
  words[at] = value >>> 0
  words[at + 1] = Math.floor(value / 2 ** 32)
}
