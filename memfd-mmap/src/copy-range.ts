import { addressOf, declareAsync } from './libc.js'

/** Offsets of the two files, in and out, which the call updates. */
const copyFileRange = declareAsync('copy_file_range', 'long', ['int', 'long', 'int', 'long', 'size_t', 'uint'])

/**
 * copy_file_range(2) on a thread of Node's pool: copies inside the kernel, by sharing blocks where the file system can do
 * that. Resolves with the bytes copied, perhaps fewer than asked for and 0 at the end of the source; with -1 if the kernel cannot
 * copy this range in this way (other file systems, an I/O error): why, only copying it in another way will tell.
 */
export function copyRange(
  source: number,
  sourceOffset: number,
  destination: number,
  destinationOffset: number,
  length: number,
): Promise<number> {
  const offsets = BigInt64Array.of(BigInt(sourceOffset), BigInt(destinationOffset))
  const address = addressOf(offsets)
  return new Promise((resolve, reject) => {
    copyFileRange(source, address, destination, address + 8, length, 0, (error: Error | null, copied: number) => {
      if (error !== null) reject(error)
      // Read back from the offsets, which have to stay where they are until here: the call has had their address only.
      else resolve(copied < 0 ? -1 : Number(offsets[0]) - sourceOffset)
    })
  })
}
