import { ProtocolError, RefusedError } from '../errors.js'
import { HOST_LITTLE_ENDIAN, readU64, writeU64 } from '../u64.js'

/** Memory region: four u64 (vhost-user.rst "Memory region description"). */
export const MEM_REGION = { GUEST_ADDRESS: 0, REGION_SIZE: 8, USER_ADDRESS: 16, MMAP_OFFSET: 24, SIZE: 32 } as const

/** Memory region with XEN_MMAP negotiated: two u32 more. */
export const XEN_REGION = { MMAP_FLAGS: 32, DOMAIN_ID: 36, SIZE: 40 } as const

/** Memory table: u32 count, u32 padding, the regions. `SIZE` is its size without regions. */
export const MEM_TABLE = { COUNT: 0, PADDING: 4, REGIONS: 8, SIZE: 8 } as const

/** Most regions in one memory table; each comes with one descriptor. */
export const MEM_TABLE_MAX_REGIONS = 8

/** Single region (ADD_MEM_REG, REM_MEM_REG): u64 padding, the region. */
export const SINGLE_REGION = { PADDING: 0, REGION: 8, SIZE: 40 } as const

/** IOTLB message. The fields end at 26; C's alignment makes it 32 bytes on the wire. */
export const IOTLB = { IOVA: 0, RANGE_SIZE: 8, USER_ADDRESS: 16, PERMISSIONS: 24, TYPE: 25, SIZE: 32 } as const

/** Values of IOTLB.TYPE and IOTLB.PERMISSIONS. */
export const IOTLB_TYPE = { MISS: 1, UPDATE: 2, INVALIDATE: 3, ACCESS_FAIL: 4 } as const
export const IOTLB_ACCESS = { NONE: 0, READ: 1, WRITE: 2, READ_WRITE: 3 } as const

/** A piece of guest memory that the front end shares. All numbers are bytes. */
export interface MemoryRegion {
  /** Guest physical address: what descriptors in rings hold. */
  guestAddress: number
  size: number
  /** Address in the front end's own address space: what SET_VRING_ADDR holds. */
  userAddress: number
  /** Where the region starts in its descriptor. */
  mmapOffset: number
}

export interface XenMemoryRegion extends MemoryRegion {
  mmapFlags: number
  domainId: number
}

export interface IotlbMessage {
  iova: number
  size: number
  userAddress: number
  permissions: number
  type: number
}

/** @throws {ProtocolError} VUS_NUMBER_RANGE */
export function decodeMemoryRegion(view: DataView, offset: number): MemoryRegion {
  return {
    guestAddress: readU64(view, offset + MEM_REGION.GUEST_ADDRESS),
    size: readU64(view, offset + MEM_REGION.REGION_SIZE),
    userAddress: readU64(view, offset + MEM_REGION.USER_ADDRESS),
    mmapOffset: readU64(view, offset + MEM_REGION.MMAP_OFFSET),
  }
}

export function encodeMemoryRegion(view: DataView, offset: number, region: MemoryRegion): void {
  writeU64(view, offset + MEM_REGION.GUEST_ADDRESS, region.guestAddress)
  writeU64(view, offset + MEM_REGION.REGION_SIZE, region.size)
  writeU64(view, offset + MEM_REGION.USER_ADDRESS, region.userAddress)
  writeU64(view, offset + MEM_REGION.MMAP_OFFSET, region.mmapOffset)
}

/** @throws {ProtocolError} VUS_NUMBER_RANGE */
export function decodeXenRegion(view: DataView, offset: number): XenMemoryRegion {
  return {
    ...decodeMemoryRegion(view, offset),
    mmapFlags: view.getUint32(offset + XEN_REGION.MMAP_FLAGS, HOST_LITTLE_ENDIAN),
    domainId: view.getUint32(offset + XEN_REGION.DOMAIN_ID, HOST_LITTLE_ENDIAN),
  }
}

export function encodeXenRegion(view: DataView, offset: number, region: XenMemoryRegion): void {
  encodeMemoryRegion(view, offset, region)
  view.setUint32(offset + XEN_REGION.MMAP_FLAGS, region.mmapFlags, HOST_LITTLE_ENDIAN)
  view.setUint32(offset + XEN_REGION.DOMAIN_ID, region.domainId, HOST_LITTLE_ENDIAN)
}

/** Bytes of a memory table with `count` regions: what QEMU sends. */
export function memoryTableBytes(count: number): number {
  return MEM_TABLE.SIZE + count * MEM_REGION.SIZE
}

/**
 * A memory table out of `length` payload bytes. Front ends that always send room for 8 regions are understood too.
 * @throws {RefusedError} VUS_TOO_MANY_REGIONS when the table claims more than 8
 * @throws {ProtocolError} VUS_PAYLOAD_SIZE when the payload is shorter than its count says, VUS_NUMBER_RANGE
 */
export function decodeMemoryTable(view: DataView, offset: number, length: number): MemoryRegion[] {
  const count = view.getUint32(offset + MEM_TABLE.COUNT, HOST_LITTLE_ENDIAN)
  if (count > MEM_TABLE_MAX_REGIONS) throw new RefusedError('VUS_TOO_MANY_REGIONS', `${count} in one table`)
  if (memoryTableBytes(count) > length) {
    throw new ProtocolError('VUS_PAYLOAD_SIZE', `a memory table of ${count} regions in ${length} bytes`)
  }
  const regions: MemoryRegion[] = []
  for (let i = 0; i < count; i++) regions.push(decodeMemoryRegion(view, offset + memoryTableBytes(i)))
  return regions
}

/** Writes memoryTableBytes(regions.length) bytes. */
export function encodeMemoryTable(view: DataView, offset: number, regions: readonly MemoryRegion[]): void {
  view.setUint32(offset + MEM_TABLE.COUNT, regions.length, HOST_LITTLE_ENDIAN)
  view.setUint32(offset + MEM_TABLE.PADDING, 0, HOST_LITTLE_ENDIAN)
  let at = offset + MEM_TABLE.REGIONS
  for (const region of regions) {
    encodeMemoryRegion(view, at, region)
    at += MEM_REGION.SIZE
  }
}

/** @throws {ProtocolError} VUS_NUMBER_RANGE */
export function decodeSingleRegion(view: DataView, offset: number): MemoryRegion {
  return decodeMemoryRegion(view, offset + SINGLE_REGION.REGION)
}

export function encodeSingleRegion(view: DataView, offset: number, region: MemoryRegion): void {
  writeU64(view, offset + SINGLE_REGION.PADDING, 0)
  encodeMemoryRegion(view, offset + SINGLE_REGION.REGION, region)
}

/** @throws {ProtocolError} VUS_NUMBER_RANGE */
export function decodeIotlb(view: DataView, offset: number): IotlbMessage {
  return {
    iova: readU64(view, offset + IOTLB.IOVA),
    size: readU64(view, offset + IOTLB.RANGE_SIZE),
    userAddress: readU64(view, offset + IOTLB.USER_ADDRESS),
    permissions: view.getUint8(offset + IOTLB.PERMISSIONS),
    type: view.getUint8(offset + IOTLB.TYPE),
  }
}

/** Writes IOTLB.SIZE bytes, the padding as zeros. */
export function encodeIotlb(view: DataView, offset: number, message: IotlbMessage): void {
  writeU64(view, offset + IOTLB.IOVA, message.iova)
  writeU64(view, offset + IOTLB.RANGE_SIZE, message.size)
  writeU64(view, offset + IOTLB.USER_ADDRESS, message.userAddress)
  writeU64(view, offset + IOTLB.PERMISSIONS, 0)
  view.setUint8(offset + IOTLB.PERMISSIONS, message.permissions)
  view.setUint8(offset + IOTLB.TYPE, message.type)
}
