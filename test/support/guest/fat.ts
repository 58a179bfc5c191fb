const BLOCK = 512
const BLOCKS = 32768
const FAT_BLOCKS = 128
const ROOT_ENTRIES = 512
const ENTRY = 32
const DATA_BLOCK = 1 + FAT_BLOCKS + (ROOT_ENTRIES * ENTRY) / BLOCK
const DIRECTORY = 0x10
const ARCHIVE = 0x20
const END_OF_CHAIN = 0xffff

/** A directory entry; `name` as it is stored, 8 + 3 characters. */
const entry = (name: string, attributes: number, cluster: number, size: number): Buffer => {
  const bytes = Buffer.alloc(ENTRY)
  bytes.write(name.padEnd(11), 'ascii')
  bytes[11] = attributes
  bytes.writeUInt16LE(cluster, 26)
  bytes.writeUInt32LE(size, 28)
  return bytes
}

/**
 * A FAT16 volume of 16 MiB without a partition table (a "super-floppy") whose only file is EFI/BOOT/BOOTX64.EFI, where
 * UEFI looks for a boot loader (UEFI 2.10 3.5.1.1). Clusters are one block of 512 bytes, numbered from 2.
 */
export const efiVolume = (bootLoader: Buffer): Buffer => {
  const volume = Buffer.alloc(BLOCKS * BLOCK)
  volume.set([0xeb, 0x3c, 0x90])
  volume.write('MSWIN4.1', 3)
  volume.writeUInt16LE(BLOCK, 11)
  volume[13] = 1 // blocks per cluster
  volume.writeUInt16LE(1, 14) // reserved blocks
  volume[16] = 1 // number of FATs
  volume.writeUInt16LE(ROOT_ENTRIES, 17)
  volume.writeUInt16LE(BLOCKS, 19)
  volume[21] = 0xf8 // media: fixed disk
  volume.writeUInt16LE(FAT_BLOCKS, 22)
  volume[38] = 0x29 // extended boot signature: the next three fields are there
  volume.write('VHOST USER FAT16   ', 43)
  volume.writeUInt16LE(0xaa55, 510)

  const fat = volume.subarray(BLOCK, DATA_BLOCK * BLOCK)
  fat.writeUInt16LE(0xfff8, 0)
  fat.writeUInt16LE(END_OF_CHAIN, 2)
  let next = 2
  const allocate = (content: Buffer): number => {
    const first = next
    next += Math.ceil(content.length / BLOCK)
    for (let cluster = first; cluster < next; cluster++) {
      fat.writeUInt16LE(cluster + 1 < next ? cluster + 1 : END_OF_CHAIN, cluster * 2)
    }
    volume.set(content, (DATA_BLOCK + first - 2) * BLOCK)
    return first
  }
  const directory = (own: number, parent: number, child: Buffer): Buffer =>
    Buffer.concat([entry('.', DIRECTORY, own, 0), entry('..', DIRECTORY, parent, 0), child])

  const file = allocate(bootLoader)
  const boot = next
  allocate(directory(boot, boot + 1, entry('BOOTX64 EFI', ARCHIVE, file, bootLoader.length)))
  const efi = allocate(directory(boot + 1, 0, entry('BOOT', DIRECTORY, boot, 0)))
  volume.set(entry('EFI', DIRECTORY, efi, 0), (1 + FAT_BLOCKS) * BLOCK)
  return volume
}
