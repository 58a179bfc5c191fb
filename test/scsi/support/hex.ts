/** The bytes of '12 01 ff'; '' is none. A part like 00*5 stands for five bytes. */
export function bytes(hex: string): Uint8Array {
  const parts = hex.trim() === '' ? [] : hex.trim().split(/\s+/)
  return Uint8Array.from(
    parts.flatMap((part) => {
      const [byte, count] = part.split('*')
      return new Array<number>(count === undefined ? 1 : Number(count)).fill(Number.parseInt(byte!, 16))
    }),
  )
}

export function hex(data: Uint8Array): string {
  return Array.from(data, (byte) => byte.toString(16).padStart(2, '0')).join(' ')
}

/** The hex of ASCII text, padded with spaces to a width. */
export function ascii(text: string, width = text.length): string {
  return hex(Uint8Array.from(text.padEnd(width), (character) => character.charCodeAt(0)))
}

/** Hex as `hex` writes it. */
export function normal(text: string): string {
  return hex(bytes(text))
}
