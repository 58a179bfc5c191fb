import { CMD_REQUEST, CMD_RESPONSE, DESC_F, VQ } from 'vhost-user-protocol-ts'
import { poisonResponse, readResult, type ScsiCommand, type ScsiResult, writeCommand } from '../vhost/scsi-request.js'
import type { RawDescriptor, RawGuest } from './raw-guest.js'

const { NEXT, WRITE, INDIRECT } = DESC_F

/** A piece of a chain. */
export interface Piece {
  readonly address: number
  readonly length: number
  readonly writable: boolean
}

/** Where `submitPieces` puts an indirect table, for 4,096 entries, and where headers and responses are by default. */
export const TABLE = 0x20_0000
export const HEADER = 0x30_0000
export const RESPONSE = 0x30_1000
export const DATA = 0x40_0000

/** Writes a command's header at HEADER, and makes the response at RESPONSE recognisable as not written. */
export function prepare(guest: RawGuest, command: ScsiCommand): void {
  writeCommand(guest.memory.bytes(HEADER, CMD_REQUEST.SIZE), command, command.tag ?? 1)
  poisonResponse(guest.memory.bytes(RESPONSE, CMD_RESPONSE.SIZE))
}

export const header: Piece = { address: HEADER, length: CMD_REQUEST.SIZE, writable: false }
export const response: Piece = { address: RESPONSE, length: CMD_RESPONSE.SIZE, writable: true }
export const dataOut = (length: number, address = DATA): Piece => ({ address, length, writable: false })
export const dataIn = (length: number, address = DATA): Piece => ({ address, length, writable: true })

function chain(pieces: readonly Piece[], first: number): RawDescriptor[] {
  return pieces.map(({ address, length, writable }, i) => {
    const last = i === pieces.length - 1
    return { address, length, flags: (last ? 0 : NEXT) | (writable ? WRITE : 0), next: last ? 0 : first + i + 1 }
  })
}

/** Puts a chain of these pieces into ring 2, waits until it is given back, and answers its used length. */
export async function submitPieces(guest: RawGuest, pieces: readonly Piece[], indirect = true): Promise<number> {
  const ring = guest.ring(VQ.REQUEST)
  if (indirect) {
    guest.writeTable(TABLE, chain(pieces, 0))
    ring.describe(0, { address: TABLE, length: 16 * pieces.length, flags: INDIRECT })
  } else {
    chain(pieces, 0).forEach((descriptor, i) => {
      ring.describe(i, descriptor)
    })
  }
  const index = ring.availableIndex
  ring.enter(index, [0])
  ring.show(index + 1)
  const outcome = await ring.settled(index + 1)
  if (outcome !== 'used') throw new Error(`the ring is ${outcome}`)
  return ring.usedElement(index).length
}

/** The response at RESPONSE. */
export function answer(guest: RawGuest, usedLength = 0): ScsiResult {
  return readResult(guest.memory.bytes(RESPONSE, CMD_RESPONSE.SIZE).slice(), new Uint8Array(0), usedLength)
}

/** Whether the response at RESPONSE was left alone. */
export function untouched(guest: RawGuest): boolean {
  const expected = new Uint8Array(CMD_RESPONSE.SIZE)
  poisonResponse(expected)
  return Buffer.compare(guest.memory.bytes(RESPONSE, CMD_RESPONSE.SIZE), expected) === 0
}
