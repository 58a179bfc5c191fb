/** Writes `text` left aligned into `width` bytes, padded with spaces (SPC-4 4.3.1). */
export function putAscii(into: Uint8Array, at: number, width: number, text: string): void {
  for (let i = 0; i < width; i++) into[at + i] = i < text.length ? text.charCodeAt(i) & 0x7f : 0x20
}

/** A big-endian u64 as a Number: exact up to 2^53, beyond that the nearest double (still beyond every medium). */
export function getU64(view: DataView, at: number): number {
  return view.getUint32(at) * 2 ** 32 + view.getUint32(at + 4)
}

/** Writes a whole Number of 0 to 2^53 as a big-endian u64. */
export function putU64(view: DataView, at: number, value: number): void {
  view.setUint32(at, Math.floor(value / 2 ** 32))
  view.setUint32(at + 4, value % 2 ** 32)
}
