import { isHolder, NO_KEY, type Reservations, registrantOf } from './state.js'
import { putHex, putTransportId, TRANSPORT_ID_BYTES } from './transport-id.js'
import { LU_SCOPE, RESERVATION_TYPE } from './type.js'

/** Header of READ KEYS, READ RESERVATION and READ FULL STATUS (SPC-4 6.15.2, 6.15.3, 6.15.5). */
const HEADER = { GENERATION: 0, ADDITIONAL_LENGTH: 4, SIZE: 8 } as const
const KEY_BYTES = 8
/** The reservation in READ RESERVATION data, from its start. */
const RESERVATION = { KEY: 8, SCOPE_AND_TYPE: 21, SIZE: 24 } as const
/** REPORT CAPABILITIES data (SPC-4 6.15.4). */
const CAPABILITIES = { LENGTH: 0, ABILITIES: 2, STATE: 3, TYPES: 4, SIZE: 8 } as const
/** A full status descriptor (SPC-4 6.15.5). */
const STATUS = {
  KEY: 0,
  FLAGS: 12,
  SCOPE_AND_TYPE: 13,
  PORT: 18,
  ADDITIONAL_LENGTH: 20,
  TRANSPORT_ID: 24,
  SIZE: 24 + TRANSPORT_ID_BYTES,
} as const

const R_HOLDER = 0x01
const CRH = 0x10
const SIP_C = 0x08
const ATP_C = 0x04
const PTPL_C = 0x01
const TMV = 0x80
/** ALLOW COMMANDS 100b: TEST UNIT READY, RECEIVE COPY RESULTS and the others go as SPC-4 table 65 has it. */
const ALLOW_COMMANDS = 0x40
const PTPL_A = 0x01

/** READ KEYS (SPC-4 6.15.2). */
export function readKeys({ generation, registrants }: Reservations): Uint8Array {
  const data = begin(generation, registrants.length * KEY_BYTES)
  registrants.forEach(({ key }, i) => {
    putHex(data, HEADER.SIZE + i * KEY_BYTES, key)
  })
  return data
}

/** READ RESERVATION (SPC-4 6.15.3). */
export function readReservation(reservations: Reservations): Uint8Array {
  const { generation, persistent } = reservations
  if (persistent === null) return begin(generation, 0)
  const data = begin(generation, RESERVATION.SIZE - HEADER.SIZE)
  const { holder, type } = persistent
  putHex(data, RESERVATION.KEY, holder === null ? NO_KEY : (registrantOf(reservations, holder)?.key ?? NO_KEY))
  data[RESERVATION.SCOPE_AND_TYPE] = (LU_SCOPE << 4) | type
  return data
}

/** REPORT CAPABILITIES (SPC-4 6.15.4). @param persistent whether APTPL can be asked for */
export function reportCapabilities({ aptpl }: Reservations, persistent: boolean): Uint8Array {
  const data = new Uint8Array(CAPABILITIES.SIZE)
  const view = new DataView(data.buffer)
  view.setUint16(CAPABILITIES.LENGTH, CAPABILITIES.SIZE)
  data[CAPABILITIES.ABILITIES] = CRH | SIP_C | ATP_C | (persistent ? PTPL_C : 0)
  data[CAPABILITIES.STATE] = TMV | ALLOW_COMMANDS | (aptpl ? PTPL_A : 0)
  let mask = 0
  for (const type of Object.values(RESERVATION_TYPE)) mask |= 1 << type
  // Bit `type` of a little-endian number, as the mask's bytes are numbered.
  view.setUint16(CAPABILITIES.TYPES, mask, true)
  return data
}

/** READ FULL STATUS (SPC-4 6.15.5): a descriptor for each I_T nexus. */
export function readFullStatus(reservations: Reservations): Uint8Array {
  const { generation, registrants, persistent } = reservations
  const data = begin(generation, registrants.length * STATUS.SIZE)
  const view = new DataView(data.buffer)
  registrants.forEach((registrant, i) => {
    const at = HEADER.SIZE + i * STATUS.SIZE
    putHex(data, at + STATUS.KEY, registrant.key)
    if (persistent !== null && isHolder(reservations, registrant)) {
      data[at + STATUS.FLAGS] = R_HOLDER
      data[at + STATUS.SCOPE_AND_TYPE] = (LU_SCOPE << 4) | persistent.type
    }
    view.setUint16(at + STATUS.PORT, registrant.port)
    view.setUint32(at + STATUS.ADDITIONAL_LENGTH, TRANSPORT_ID_BYTES)
    putTransportId(data, at + STATUS.TRANSPORT_ID, registrant.initiator)
  })
  return data
}

function begin(generation: number, additionalLength: number): Uint8Array {
  const data = new Uint8Array(HEADER.SIZE + additionalLength)
  const view = new DataView(data.buffer)
  view.setUint32(HEADER.GENERATION, generation)
  view.setUint32(HEADER.ADDITIONAL_LENGTH, additionalLength)
  return data
}
