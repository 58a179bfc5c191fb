import { HOST_LITTLE_ENDIAN, readU64, writeU64 } from '../u64.js'

/** Shared object (GET_SHARED_OBJECT and the back end's ADD, REMOVE, LOOKUP): a UUID. */
export const SHARED_OBJECT = { UUID: 0, SIZE: 16 } as const

/** Shared memory configuration (GET_SHMEM_CONFIG): u32 count, u32 padding, 256 u64 sizes indexed by region id. */
export const SHMEM_CONFIG = { COUNT: 0, PADDING: 4, SIZES: 8, SIZE: 2056 } as const
export const SHMEM_MAX_REGIONS = 256

/** Mapping request (the back end's SHMEM_MAP, SHMEM_UNMAP): u8 region id, 7 padding, four u64. */
export const SHMEM_MAPPING = {
  REGION_ID: 0,
  FD_OFFSET: 8,
  SHM_OFFSET: 16,
  LENGTH: 24,
  FLAGS: 32,
  SIZE: 40,
} as const
export const SHMEM_MAPPING_F = { WRITABLE: 1 } as const

export interface ShmemMapping {
  regionId: number
  fdOffset: number
  shmOffset: number
  length: number
  flags: number
}

/** A copy of the 16 UUID bytes, in wire order (its first three fields big-endian). */
export function decodeSharedObject(view: DataView, offset: number): Uint8Array {
  return new Uint8Array(view.buffer, view.byteOffset + offset, SHARED_OBJECT.SIZE).slice()
}

export function encodeSharedObject(view: DataView, offset: number, uuid: Uint8Array): void {
  for (let i = 0; i < SHARED_OBJECT.SIZE; i++) view.setUint8(offset + i, uuid[i] ?? 0)
}

/** The sizes of all 256 regions; 0 = there is no such region. @throws {ProtocolError} VUS_NUMBER_RANGE */
export function decodeShmemConfig(view: DataView, offset: number): number[] {
  const sizes: number[] = []
  for (let i = 0; i < SHMEM_MAX_REGIONS; i++) sizes.push(readU64(view, offset + SHMEM_CONFIG.SIZES + 8 * i))
  return sizes
}

/** Writes SHMEM_CONFIG.SIZE bytes; regions that `sizes` does not have are written as absent. */
export function encodeShmemConfig(view: DataView, offset: number, sizes: readonly number[]): void {
  let count = 0
  for (let i = 0; i < SHMEM_MAX_REGIONS; i++) {
    const size = sizes[i] ?? 0
    if (size > 0) count++
    writeU64(view, offset + SHMEM_CONFIG.SIZES + 8 * i, size)
  }
  view.setUint32(offset + SHMEM_CONFIG.COUNT, count, HOST_LITTLE_ENDIAN)
  view.setUint32(offset + SHMEM_CONFIG.PADDING, 0, HOST_LITTLE_ENDIAN)
}

/** @throws {ProtocolError} VUS_NUMBER_RANGE */
export function decodeShmemMapping(view: DataView, offset: number): ShmemMapping {
  return {
    regionId: view.getUint8(offset + SHMEM_MAPPING.REGION_ID),
    fdOffset: readU64(view, offset + SHMEM_MAPPING.FD_OFFSET),
    shmOffset: readU64(view, offset + SHMEM_MAPPING.SHM_OFFSET),
    length: readU64(view, offset + SHMEM_MAPPING.LENGTH),
    flags: readU64(view, offset + SHMEM_MAPPING.FLAGS),
  }
}

export function encodeShmemMapping(view: DataView, offset: number, mapping: ShmemMapping): void {
  writeU64(view, offset, 0)
  view.setUint8(offset + SHMEM_MAPPING.REGION_ID, mapping.regionId)
  writeU64(view, offset + SHMEM_MAPPING.FD_OFFSET, mapping.fdOffset)
  writeU64(view, offset + SHMEM_MAPPING.SHM_OFFSET, mapping.shmOffset)
  writeU64(view, offset + SHMEM_MAPPING.LENGTH, mapping.length)
  writeU64(view, offset + SHMEM_MAPPING.FLAGS, mapping.flags)
}
