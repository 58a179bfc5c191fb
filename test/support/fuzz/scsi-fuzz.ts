/** SCSI commands for a fuzzer: most of them sense, some of them nonsense. */
import type { Random } from '../random.js'

const READ_10 = 0x28
const WRITE_10 = 0x2a

/** Lengths that a parser may stumble over. */
export const LENGTHS = [0, 1, 4, 8, 16, 18, 24, 36, 96, 252, 255, 256, 511, 512, 513, 4095, 4096, 4097, 65535, 65536]

/** Opcodes without data or with a little; those that change what a unit does are rare. */
const QUIET = [0x00, 0x03, 0x12, 0x1a, 0x25, 0x35, 0x37, 0x3c, 0x4d, 0x55, 0x5a, 0x5e, 0x91, 0x9e, 0xa0, 0xa3, 0xa4]
const MOVING = [
  0x08, 0x0a, 0x2e, 0x2f, 0x41, 0x42, 0x43, 0x88, 0x89, 0x8a, 0x8b, 0x8e, 0x8f, 0x93, 0x9c, 0xa8, 0xaa, 0xaf,
]
const RARE = [0x01, 0x04, 0x15, 0x16, 0x17, 0x1b, 0x1d, 0x1e, 0x2b, 0x3b, 0x48, 0x56, 0x57, 0x5f, 0x7f, 0x83, 0x84]

/** What a command wants to move. */
export interface Transfer {
  out: number
  in: number
}

/**
 * Writes a CDB of 32 bytes into `bytes` at `at`, and says into `transfer` which buffers would fit.
 */
export function writeCdb(random: Random, bytes: Uint8Array, at: number, transfer: Transfer): void {
  bytes.fill(0, at, at + 32)
  transfer.out = 0
  transfer.in = 0
  const kind = random.below(16)
  if (kind < 8) {
    // Within every medium: 1 MiB and more.
    const blocks = 1 + random.below(8)
    bytes[at] = kind < 4 ? READ_10 : WRITE_10
    bytes[at + 4] = random.below(7)
    bytes[at + 5] = random.below(256)
    bytes[at + 8] = blocks
    if (kind < 4) transfer.in = 512 * blocks
    else transfer.out = 512 * blocks
  } else if (kind < 12) {
    bytes[at] = random.pick(QUIET)
    bytes[at + 1] = random.once(3) ? random.below(256) : random.pick([0, 0x10, 0x0c, 0x08])
    bytes[at + 2] = random.once(2) ? random.pick([0, 0x3f, 0x80, 0x83, 0xb0, 0xb1, 0xb2]) : random.below(256)
    bytes[at + 3] = random.once(8) ? random.below(256) : 0
    bytes[at + 4] = random.below(256)
    bytes[at + 8] = random.below(256)
    bytes[at + 13] = random.below(256)
    if (bytes[at] === 0x55) transfer.out = random.pick(LENGTHS)
    else transfer.in = random.pick(LENGTHS)
  } else if (kind < 15) {
    const opcode = random.pick(MOVING)
    bytes[at] = opcode
    bytes[at + 1] = random.once(3) ? random.below(256) : 0
    // The low bytes of an address and of a length, wherever this opcode has them.
    const long = opcode >= 0x80 && opcode < 0xa0
    bytes[at + (long ? 8 : 4)] = random.below(8)
    bytes[at + (long ? 9 : 5)] = random.below(256)
    const blocks = random.below(random.once(8) ? 65536 : 9)
    const length = opcode < 0x20 ? 4 : long ? 12 : opcode < 0x60 ? 7 : 8
    bytes[at + length] = blocks >>> 8
    bytes[at + length + 1] = blocks
    transfer.out = random.once(2) ? 512 * Math.min(blocks, 16) : random.pick(LENGTHS)
    if (random.once(4)) [transfer.in, transfer.out] = [transfer.out, 0]
  } else {
    bytes[at] = random.once(8) ? random.below(256) : random.pick(RARE)
    for (let i = 1; i < 16; i++) bytes[at + i] = random.once(2) ? 0 : random.below(256)
    if (random.once(2)) transfer.out = random.pick(LENGTHS)
    else transfer.in = random.pick(LENGTHS)
  }
  if (random.once(12)) bytes[at + random.below(16)] = random.below(256)
  // In both directions, which no disk does; and not as much as it wants.
  if (random.once(40)) transfer.in = random.pick(LENGTHS)
  if (random.once(40)) transfer.out = random.pick(LENGTHS)
}
