import { ProtocolError } from '../errors.js'
import { HOST_LITTLE_ENDIAN, readU64, writeU64 } from '../u64.js'

/** vring state: u32 ring index, u32 number (size, base, enable ... by request). */
export const VRING_STATE = { INDEX: 0, NUM: 4, SIZE: 8 } as const

/** vring address: u32 index, u32 flags, then u64 addresses; the three ring parts are front-end user addresses. */
export const VRING_ADDRESS = { INDEX: 0, FLAGS: 4, DESC: 8, USED: 16, AVAIL: 24, LOG: 32, SIZE: 40 } as const

/** Flags of VRING_ADDRESS. */
export const VRING_ADDRESS_F = { LOG: 1 } as const

/** The u64 of SET_VRING_KICK/CALL/ERR: the index in bits 0-7, bit 8 when no descriptor is attached. */
export const VRING_FD = { INDEX_MASK: 0xff, NO_FD: 0x100, SIZE: 8 } as const

/** vring area (VRING_HOST_NOTIFIER_MSG): u64 index and flags, u64 size, u64 offset in the descriptor. */
export const VRING_AREA = { INDEX_FLAGS: 0, AREA_SIZE: 8, OFFSET: 16, SIZE: 24 } as const

export interface VringState {
  index: number
  num: number
}

export interface VringAddress {
  index: number
  flags: number
  desc: number
  used: number
  avail: number
  /** Guest address under which writes to the used ring are logged; it need not lie in any region. */
  log: number
}

export interface VringFd {
  index: number
  hasFd: boolean
}

export interface VringArea {
  index: number
  /** Bit 8 of the u64: no descriptor comes with the message. */
  hasFd: boolean
  size: number
  offset: number
}

/** Where a packed ring stands (virtio 1.3 2.8): both positions and both wrap counters. */
export interface PackedBase {
  avail: number
  availWrap: boolean
  used: number
  usedWrap: boolean
}

export function decodeVringState(view: DataView, offset: number): VringState {
  return {
    index: view.getUint32(offset + VRING_STATE.INDEX, HOST_LITTLE_ENDIAN),
    num: view.getUint32(offset + VRING_STATE.NUM, HOST_LITTLE_ENDIAN),
  }
}

export function encodeVringState(view: DataView, offset: number, state: VringState): void {
  view.setUint32(offset + VRING_STATE.INDEX, state.index, HOST_LITTLE_ENDIAN)
  view.setUint32(offset + VRING_STATE.NUM, state.num, HOST_LITTLE_ENDIAN)
}

/** @throws {ProtocolError} VUS_NUMBER_RANGE */
export function decodeVringAddress(view: DataView, offset: number): VringAddress {
  return {
    index: view.getUint32(offset + VRING_ADDRESS.INDEX, HOST_LITTLE_ENDIAN),
    flags: view.getUint32(offset + VRING_ADDRESS.FLAGS, HOST_LITTLE_ENDIAN),
    desc: readU64(view, offset + VRING_ADDRESS.DESC),
    used: readU64(view, offset + VRING_ADDRESS.USED),
    avail: readU64(view, offset + VRING_ADDRESS.AVAIL),
    log: readU64(view, offset + VRING_ADDRESS.LOG),
  }
}

export function encodeVringAddress(view: DataView, offset: number, address: VringAddress): void {
  view.setUint32(offset + VRING_ADDRESS.INDEX, address.index, HOST_LITTLE_ENDIAN)
  view.setUint32(offset + VRING_ADDRESS.FLAGS, address.flags, HOST_LITTLE_ENDIAN)
  writeU64(view, offset + VRING_ADDRESS.DESC, address.desc)
  writeU64(view, offset + VRING_ADDRESS.USED, address.used)
  writeU64(view, offset + VRING_ADDRESS.AVAIL, address.avail)
  writeU64(view, offset + VRING_ADDRESS.LOG, address.log)
}

function splitVringFd(value: number): VringFd {
  if (value > (VRING_FD.NO_FD | VRING_FD.INDEX_MASK)) {
    throw new ProtocolError('VUS_BAD_PAYLOAD', `ring index and flags are 0x${value.toString(16)}`)
  }
  return { index: value & VRING_FD.INDEX_MASK, hasFd: (value & VRING_FD.NO_FD) === 0 }
}

/** @throws {ProtocolError} VUS_BAD_PAYLOAD when bits 9 and up are set, VUS_NUMBER_RANGE */
export function decodeVringFd(view: DataView, offset: number): VringFd {
  return splitVringFd(readU64(view, offset))
}

export function encodeVringFd(view: DataView, offset: number, ring: VringFd): void {
  writeU64(view, offset, ring.index | (ring.hasFd ? 0 : VRING_FD.NO_FD))
}

/** @throws {ProtocolError} VUS_BAD_PAYLOAD when bits 9 and up of the first field are set, VUS_NUMBER_RANGE */
export function decodeVringArea(view: DataView, offset: number): VringArea {
  return {
    ...splitVringFd(readU64(view, offset + VRING_AREA.INDEX_FLAGS)),
    size: readU64(view, offset + VRING_AREA.AREA_SIZE),
    offset: readU64(view, offset + VRING_AREA.OFFSET),
  }
}

export function encodeVringArea(view: DataView, offset: number, area: VringArea): void {
  writeU64(view, offset + VRING_AREA.INDEX_FLAGS, area.index | (area.hasFd ? 0 : VRING_FD.NO_FD))
  writeU64(view, offset + VRING_AREA.AREA_SIZE, area.size)
  writeU64(view, offset + VRING_AREA.OFFSET, area.offset)
}

/** The `num` of SET/GET_VRING_BASE for a packed ring, taken apart: bits 0-14 and 15 the driver's side, 16-30 and 31 ours. */
export function unpackBase(num: number): PackedBase {
  return {
    avail: num & 0x7fff,
    availWrap: (num & 0x8000) !== 0,
    used: (num >>> 16) & 0x7fff,
    usedWrap: num >>> 31 === 1,
  }
}

/** The inverse of unpackBase, as an unsigned 32-bit number. */
export function packBase(base: PackedBase): number {
  return (base.avail | (base.availWrap ? 0x8000 : 0) | (base.used << 16) | (base.usedWrap ? 0x80000000 : 0)) >>> 0
}
