import {
  inflightStride,
  PACKED_DESC,
  PACKED_REGION,
  PACKED_STATE,
  PackedInflight,
  packedRingBytes,
} from 'vhost-user-protocol-ts'

/** A region by its fields, and a ring that the test writes itself. */
export function packedBed(size: number, entries = size) {
  const buffer = new SharedArrayBuffer(inflightStride('packed', entries))
  const ring = new SharedArrayBuffer(packedRingBytes(size))
  const view = new DataView(buffer)
  const desc = new DataView(ring)
  const state = (entry: number) => PACKED_REGION.DESC + PACKED_STATE.SIZE * entry
  return {
    buffer,
    ring,
    view,
    create: () => new PackedInflight(buffer, entries, ring, size),
    describe: (index: number, address: bigint, length: number, flags: number, id: number) => {
      desc.setBigUint64(PACKED_DESC.SIZE * index + PACKED_DESC.ADDRESS, address, true)
      desc.setUint32(PACKED_DESC.SIZE * index + PACKED_DESC.LENGTH, length, true)
      desc.setUint16(PACKED_DESC.SIZE * index + PACKED_DESC.FLAGS, flags, true)
      desc.setUint16(PACKED_DESC.SIZE * index + PACKED_DESC.ID, id, true)
    },
    flags: (index: number) => desc.getUint16(PACKED_DESC.SIZE * index + PACKED_DESC.FLAGS, true),
    inflight: () => Array.from({ length: entries }, (_, i) => view.getUint8(state(i))).join(''),
    next: (entry: number) => view.getUint16(state(entry) + PACKED_STATE.NEXT, true),
    counter: (entry: number) => view.getBigUint64(state(entry) + PACKED_STATE.COUNTER, true),
    free: () => [view.getUint16(PACKED_REGION.FREE_HEAD, true), view.getUint16(PACKED_REGION.OLD_FREE_HEAD, true)],
    used: () => [
      view.getUint16(PACKED_REGION.USED_IDX, true),
      view.getUint8(PACKED_REGION.USED_WRAP_COUNTER),
      view.getUint16(PACKED_REGION.OLD_USED_IDX, true),
      view.getUint8(PACKED_REGION.OLD_USED_WRAP_COUNTER),
    ],
    version: () => view.getUint16(PACKED_REGION.VERSION, true),
  }
}
