/** CDBs as tests state them. LBAs and lengths in blocks. */

/** `value` as `bytes` big-endian bytes. */
export function bigEndian(value: number, bytes: number): number[] {
  return Array.from({ length: bytes }, (_, i) => Math.floor(value / 256 ** (bytes - 1 - i)) % 256)
}

function ten(opcode: number, lba: number, blocks: number, byte1 = 0): number[] {
  return [opcode, byte1, ...bigEndian(lba, 4), 0, ...bigEndian(blocks, 2), 0]
}

function twelve(opcode: number, lba: number, blocks: number, byte1 = 0): number[] {
  return [opcode, byte1, ...bigEndian(lba, 4), ...bigEndian(blocks, 4), 0, 0]
}

function sixteen(opcode: number, lba: number, blocks: number, byte1 = 0): number[] {
  return [opcode, byte1, ...bigEndian(lba, 8), ...bigEndian(blocks, 4), 0, 0]
}

export const FUA = 0x08

export const read6 = (lba: number, blocks: number): number[] => [0x08, ...bigEndian(lba, 3), blocks % 256, 0]
export const write6 = (lba: number, blocks: number): number[] => [0x0a, ...bigEndian(lba, 3), blocks % 256, 0]
export const read10 = (lba: number, blocks: number, byte1 = 0): number[] => ten(0x28, lba, blocks, byte1)
export const write10 = (lba: number, blocks: number, byte1 = 0): number[] => ten(0x2a, lba, blocks, byte1)
export const read12 = (lba: number, blocks: number, byte1 = 0): number[] => twelve(0xa8, lba, blocks, byte1)
export const write12 = (lba: number, blocks: number, byte1 = 0): number[] => twelve(0xaa, lba, blocks, byte1)
export const read16 = (lba: number, blocks: number, byte1 = 0): number[] => sixteen(0x88, lba, blocks, byte1)
export const write16 = (lba: number, blocks: number, byte1 = 0): number[] => sixteen(0x8a, lba, blocks, byte1)

/** BYTCHK in byte 1 of VERIFY (SBC-3 5.29). */
export const BYTCHK = { MEDIUM: 0, COMPARE: 2, COMPARE_ONE_BLOCK: 6 } as const
export const verify10 = (lba: number, blocks: number, byte1 = 0): number[] => ten(0x2f, lba, blocks, byte1)
export const verify16 = (lba: number, blocks: number, byte1 = 0): number[] => sixteen(0x8f, lba, blocks, byte1)
export const writeAndVerify10 = (lba: number, blocks: number, byte1 = 0): number[] => ten(0x2e, lba, blocks, byte1)

/** UNMAP and NDOB in byte 1 of WRITE SAME (SBC-3 5.42). */
export const SAME = { UNMAP: 0x08, NO_DATA: 0x01 } as const
export const writeSame10 = (lba: number, blocks: number, byte1 = 0): number[] => ten(0x41, lba, blocks, byte1)
export const writeSame16 = (lba: number, blocks: number, byte1 = 0): number[] => sixteen(0x93, lba, blocks, byte1)

export const synchronizeCache10 = (): number[] => ten(0x35, 0, 0)
export const TEST_UNIT_READY = [0, 0, 0, 0, 0, 0]
export const inquiry = (length: number): number[] => [0x12, 0, 0, ...bigEndian(length, 2), 0]
export const reportLuns = (length: number): number[] => [0xa0, 0, 0, 0, 0, 0, ...bigEndian(length, 4), 0, 0]
export const readCapacity10 = (): number[] => [0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0]

/** UNMAP's CDB and parameter list for (LBA, blocks) pairs. */
export function unmap(ranges: readonly (readonly [number, number])[]): { cdb: number[]; dataOut: Uint8Array } {
  const length = 8 + 16 * ranges.length
  const descriptors = ranges.flatMap(([lba, blocks]) => [...bigEndian(lba, 8), ...bigEndian(blocks, 4), 0, 0, 0, 0])
  const dataOut = Uint8Array.from([
    ...bigEndian(length - 2, 2),
    ...bigEndian(length - 8, 2),
    ...[0, 0, 0, 0],
    ...descriptors,
  ])
  return { cdb: [0x42, 0, 0, 0, 0, 0, 0, ...bigEndian(length, 2), 0], dataOut }
}

/** Sense key, ASC and ASCQ of fixed or descriptor format sense data, as SENSE has them. */
export function senseCode(sense: Uint8Array): number {
  if (sense.length === 0) return 0
  const fixed = (sense[0]! & 0x7f) === 0x70
  const [key, asc, ascq] = fixed ? [sense[2]!, sense[12]!, sense[13]!] : [sense[1]!, sense[2]!, sense[3]!]
  return ((key & 0x0f) << 16) | (asc << 8) | ascq
}
