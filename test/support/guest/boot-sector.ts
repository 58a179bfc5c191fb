/** The port of QEMU's isa-debugcon device that the firmware tests' code writes to. */
export const DEBUG_PORT = 0xe9

/** Where the boot sector expects the message, and where it writes what it has read. In blocks of 512 bytes. */
export const MESSAGE_BLOCK = 1
export const COPY_BLOCK = 64

const ORIGIN = 0x7c00
const BUFFER = 0x8000
const READ_PACKET = 0x80
const WRITE_PACKET = 0x90

const le16 = (value: number): [number, number] => [value & 0xff, value >> 8]

/** An INT 13h disk address packet for one block of 512 bytes (Phoenix EDD 3.0, 5.3.1). */
const packet = (block: number): number[] => [
  16,
  0,
  ...le16(1),
  ...le16(BUFFER),
  ...le16(0),
  ...le16(block),
  0,
  0,
  0,
  0,
  0,
  0,
]

/**
 * A boot sector that reads MESSAGE_BLOCK through INT 13h, writes it to the debug port up to its first NUL, writes the
 * block to COPY_BLOCK, and then writes `+`, or `!` where INT 13h has failed.
 */
export const bootSector = (): Buffer => {
  const code = [
    ...[0x31, 0xc0], // xor ax, ax
    ...[0x8e, 0xd8, 0x8e, 0xc0, 0x8e, 0xd0], // mov ds, ax; mov es, ax; mov ss, ax
    ...[0xbc, ...le16(ORIGIN)], // mov sp, ORIGIN
    ...[0xbe, ...le16(ORIGIN + READ_PACKET)], // mov si, READ_PACKET
    ...[0xb4, 0x42, 0xcd, 0x13], // mov ah, 42h (extended read); int 13h
    ...[0x72, 26], // jc failed
    ...[0xbe, ...le16(BUFFER)], // mov si, BUFFER
    ...[0xac, 0x84, 0xc0], // next: lodsb; test al, al
    ...[0x74, 4], // jz end
    ...[0xe6, DEBUG_PORT, 0xeb, -9 & 0xff], // out DEBUG_PORT, al; jmp next
    ...[0xbe, ...le16(ORIGIN + WRITE_PACKET)], // end: mov si, WRITE_PACKET
    ...[0xb8, 0x00, 0x43, 0xcd, 0x13], // mov ax, 4300h (extended write); int 13h
    ...[0x72, 4], // jc failed
    ...[0xb0, 0x2b, 0xeb, 2], // mov al, '+'; jmp say
    ...[0xb0, 0x21], // failed: mov al, '!'
    ...[0xe6, DEBUG_PORT], // say: out DEBUG_PORT, al
    ...[0xf4, 0xeb, -3 & 0xff], // halt: hlt; jmp halt
  ]
  const sector = Buffer.alloc(512)
  sector.set(code)
  sector.set(packet(MESSAGE_BLOCK), READ_PACKET)
  sector.set(packet(COPY_BLOCK), WRITE_PACKET)
  sector.writeUInt16LE(0xaa55, 510)
  return sector
}
