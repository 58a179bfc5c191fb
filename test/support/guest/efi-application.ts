import { DEBUG_PORT } from './boot-sector.js'

const HEADERS = 0x200
const FILE_ALIGNMENT = 0x200
const SECTION_ALIGNMENT = 0x1000
const PE = 0x40
const OPTIONAL = PE + 24
const OPTIONAL_SIZE = 112 + 16 * 8
const SECTION = OPTIONAL + OPTIONAL_SIZE

const AMD64 = 0x8664
const EXECUTABLE_LARGE_ADDRESS_AWARE = 0x0022
const PE32_PLUS = 0x020b
const EFI_APPLICATION = 10
const CODE_EXECUTE_READ_WRITE = 0xe0000020

/** x86-64: writes the text that follows it to the debug port, then halts for ever. */
const CODE = [
  ...[0x48, 0x8d, 0x35, 12, 0, 0, 0], // lea rsi, [text]
  ...[0xac, 0x84, 0xc0], // next: lodsb; test al, al
  ...[0x74, 4], // jz halt
  ...[0xe6, DEBUG_PORT, 0xeb, -9 & 0xff], // out DEBUG_PORT, al; jmp next
  ...[0xf4, 0xeb, -3 & 0xff], // halt: hlt; jmp halt
]

/**
 * A UEFI application (PE32+, no relocations) that writes `text` to the debug port. It is `size` bytes long, a multiple
 * of 512.
 */
export const efiApplication = (text: string, size: number): Buffer => {
  const image = Buffer.alloc(size)
  const body = size - HEADERS
  image.write('MZ')
  image.writeUInt32LE(PE, 0x3c)
  image.write('PE\0\0', PE)
  image.writeUInt16LE(AMD64, PE + 4)
  image.writeUInt16LE(1, PE + 6) // sections
  image.writeUInt16LE(OPTIONAL_SIZE, PE + 20)
  image.writeUInt16LE(EXECUTABLE_LARGE_ADDRESS_AWARE, PE + 22)
  image.writeUInt16LE(PE32_PLUS, OPTIONAL)
  image.writeUInt32LE(body, OPTIONAL + 4) // SizeOfCode
  image.writeUInt32LE(SECTION_ALIGNMENT, OPTIONAL + 16) // AddressOfEntryPoint
  image.writeUInt32LE(SECTION_ALIGNMENT, OPTIONAL + 20) // BaseOfCode
  image.writeUInt32LE(SECTION_ALIGNMENT, OPTIONAL + 32)
  image.writeUInt32LE(FILE_ALIGNMENT, OPTIONAL + 36)
  const pages = 1 + Math.ceil(body / SECTION_ALIGNMENT)
  image.writeUInt32LE(pages * SECTION_ALIGNMENT, OPTIONAL + 56) // SizeOfImage
  image.writeUInt32LE(HEADERS, OPTIONAL + 60)
  image.writeUInt16LE(EFI_APPLICATION, OPTIONAL + 68)
  image.writeUInt32LE(16, OPTIONAL + 108) // NumberOfRvaAndSizes
  image.write('.text', SECTION)
  image.writeUInt32LE(body, SECTION + 8) // VirtualSize
  image.writeUInt32LE(SECTION_ALIGNMENT, SECTION + 12) // VirtualAddress
  image.writeUInt32LE(body, SECTION + 16) // SizeOfRawData
  image.writeUInt32LE(HEADERS, SECTION + 20)
  image.writeUInt32LE(CODE_EXECUTE_READ_WRITE, SECTION + 36)
  image.set(CODE, HEADERS)
  image.write(`${text}\0`, HEADERS + CODE.length)
  return image
}
