import { RefusedError } from '../errors.js'
import { HOST_LITTLE_ENDIAN } from '../u64.js'

/** Config access (GET_CONFIG, SET_CONFIG): u32 offset, u32 size, u32 flags, then `size` bytes. `SIZE` is without them. */
export const CONFIG_ACCESS = { OFFSET: 0, LENGTH: 4, FLAGS: 8, DATA: 12, SIZE: 12 } as const

/** Flags of CONFIG_ACCESS. */
export const CONFIG_ACCESS_F = { WRITABLE: 0, MIGRATION: 1 } as const

/** The most config space that one message carries. */
export const MAX_CONFIG_BYTES = 256

export interface ConfigAccess {
  offset: number
  size: number
  flags: number
}

/**
 * The fixed part of a config access.
 * @throws {RefusedError} VUS_CONFIG_RANGE when the access reaches beyond byte 256
 */
export function decodeConfigAccess(view: DataView, offset: number): ConfigAccess {
  const access = {
    offset: view.getUint32(offset + CONFIG_ACCESS.OFFSET, HOST_LITTLE_ENDIAN),
    size: view.getUint32(offset + CONFIG_ACCESS.LENGTH, HOST_LITTLE_ENDIAN),
    flags: view.getUint32(offset + CONFIG_ACCESS.FLAGS, HOST_LITTLE_ENDIAN),
  }
  if (access.offset + access.size > MAX_CONFIG_BYTES) {
    throw new RefusedError('VUS_CONFIG_RANGE', `${access.size} bytes at ${access.offset}`)
  }
  return access
}

/** A config message: the fixed part and `access.size` bytes of `data` (zeros where it has fewer). */
export function encodeConfigAccess(access: ConfigAccess, data: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(CONFIG_ACCESS.SIZE + access.size)
  const view = new DataView(bytes.buffer)
  view.setUint32(CONFIG_ACCESS.OFFSET, access.offset, HOST_LITTLE_ENDIAN)
  view.setUint32(CONFIG_ACCESS.LENGTH, access.size, HOST_LITTLE_ENDIAN)
  view.setUint32(CONFIG_ACCESS.FLAGS, access.flags, HOST_LITTLE_ENDIAN)
  bytes.set(data.subarray(0, access.size), CONFIG_ACCESS.DATA)
  return bytes
}
