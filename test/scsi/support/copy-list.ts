import { bytes } from './hex.js'

/** An identification CSCD descriptor with the NAA designator of a wwn. */
export function naaUnit(wwn: string, blockLength = 512): Uint8Array {
  const unit = new Uint8Array(32)
  unit.set(bytes('e4 00 00 00 01 03 00 08'))
  unit.set(
    Uint8Array.from(wwn.match(/../g)!, (hex) => Number.parseInt(hex, 16)),
    8,
  )
  unit.set([blockLength >>> 16, (blockLength >>> 8) & 0xff, blockLength & 0xff], 29)
  return unit
}

export const NAA_UNIT = naaUnit('3001020304050607')

/** A block device to block device segment descriptor. */
export function segment(
  blocks: number,
  sourceLba: number,
  destinationLba: number,
  source = 0,
  destination = 0,
  countsDestination = false,
): Uint8Array {
  const view = new DataView(new ArrayBuffer(28))
  view.setUint16(0, 0x0200 | (countsDestination ? 2 : 0))
  view.setUint16(2, 24)
  view.setUint16(4, source)
  view.setUint16(6, destination)
  view.setUint16(10, blocks)
  view.setBigUint64(12, BigInt(sourceLba))
  view.setBigUint64(20, BigInt(destinationLba))
  return new Uint8Array(view.buffer)
}

/** The parameter list of an EXTENDED COPY(LID1). */
export function copyList(o: {
  identifier?: number
  flags?: number
  units: readonly Uint8Array[]
  segments: readonly Uint8Array[]
}): Uint8Array {
  const units = Buffer.concat(o.units)
  const segments = Buffer.concat(o.segments)
  const header = new DataView(new ArrayBuffer(16))
  header.setUint8(0, o.identifier ?? 1)
  header.setUint8(1, o.flags ?? 0)
  header.setUint16(2, units.length)
  header.setUint32(8, segments.length)
  return Uint8Array.from(Buffer.concat([new Uint8Array(header.buffer), units, segments]))
}
