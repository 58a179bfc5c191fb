import fc from 'fast-check'

/** One field of a structure: its size in bytes and its value. */
export type Field = readonly [bytes: number, value: number | bigint]

/** The plain twin of all message codecs: fields one after the other, byte by byte, low byte first. */
export const naive = (...fields: Field[]): Uint8Array => {
  const out: number[] = []
  for (const [bytes, value] of fields) {
    let rest = BigInt(value)
    for (let i = 0; i < bytes; i++) {
      out.push(Number(rest & 0xffn))
      rest >>= 8n
    }
  }
  return Uint8Array.from(out)
}

export const u8 = fc.nat(0xff)
export const u16 = fc.nat(0xffff)
export const u32 = fc.nat(0xffffffff)
/** Any u64 that fits a Number. */
export const u53 = fc.oneof(fc.maxSafeNat(), fc.nat(0xffffffff), fc.constantFrom(0, 2 ** 32, 2 ** 32 - 1, 2 ** 53 - 1))

const GUARD = 0xa5

/**
 * Encodes at `offset` of a larger buffer, checks that nothing around it was touched, and returns the `size` bytes.
 * `size` bytes of guard on each side.
 */
export const encodeAt = (
  size: number,
  offset: number,
  encode: (view: DataView, offset: number) => void,
): Uint8Array => {
  const bytes = new Uint8Array(offset + size + 16).fill(GUARD)
  encode(new DataView(bytes.buffer), offset)
  for (let i = 0; i < offset; i++) if (bytes[i] !== GUARD) throw new Error(`byte ${i} before the message was written`)
  for (let i = offset + size; i < bytes.length; i++) {
    if (bytes[i] !== GUARD) throw new Error(`byte ${i - offset - size} after the message was written`)
  }
  return bytes.slice(offset, offset + size)
}

/** A view in which `bytes` stand at `offset`. */
export const viewAt = (bytes: Uint8Array, offset: number): DataView => {
  const all = new Uint8Array(offset + bytes.length).fill(GUARD)
  all.set(bytes, offset)
  return new DataView(all.buffer)
}

/** Bytes out of hexadecimal text; blanks are ignored. */
export const hex = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text.replace(/\s+/g, ''), 'hex'))
