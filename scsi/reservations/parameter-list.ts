import { SENSE } from '../sense.js'
import { failed, invalidParameter, type Outcome } from './outcome.js'
import { hexAt, initiatorAt, TRANSPORT_ID_BYTES } from './transport-id.js'

/** PERSISTENT RESERVE OUT parameter list (SPC-4 6.16.3). */
export const OUT_LIST = {
  KEY: 0,
  ACTION_KEY: 8,
  FLAGS: 20,
  SIZE: 24,
  TRANSPORT_IDS_LENGTH: 24,
  TRANSPORT_IDS: 28,
} as const

/** The same for REGISTER AND MOVE (SPC-4 6.16.4); the keys are where they are in the other. */
export const MOVE_LIST = { FLAGS: 17, PORT: 18, TRANSPORT_ID_LENGTH: 20, TRANSPORT_ID: 24 } as const

/** Bit numbers in FLAGS. */
export const OUT_BIT = { SPEC_I_PT: 3, ALL_TG_PT: 2, APTPL: 0 } as const
export const MOVE_BIT = { UNREG: 1, APTPL: 0 } as const

/** What both kinds begin with. */
export function keysOf(list: Uint8Array): { readonly key: string; readonly actionKey: string } {
  return { key: hexAt(list, OUT_LIST.KEY), actionKey: hexAt(list, OUT_LIST.ACTION_KEY) }
}

export function hasBit(list: Uint8Array, byte: number, bit: number): boolean {
  return ((list[byte]! >>> bit) & 1) !== 0
}

/** The initiator ports that SPEC_I_PT names, or why there are none. */
export function specifiedInitiators(list: Uint8Array): readonly string[] | Outcome {
  if (list.length < OUT_LIST.TRANSPORT_IDS) return failed(SENSE.PARAMETER_LIST_LENGTH_ERROR)
  const length = lengthAt(list, OUT_LIST.TRANSPORT_IDS_LENGTH)
  if (length > list.length - OUT_LIST.TRANSPORT_IDS) return failed(SENSE.PARAMETER_LIST_LENGTH_ERROR)
  if (length % TRANSPORT_ID_BYTES !== 0) return invalidParameter(OUT_LIST.TRANSPORT_IDS_LENGTH)
  const initiators = new Set<string>()
  const end = OUT_LIST.TRANSPORT_IDS + length
  for (let at: number = OUT_LIST.TRANSPORT_IDS; at < end; at += TRANSPORT_ID_BYTES) {
    const initiator = initiatorAt(list, at)
    if (initiator === undefined) return invalidParameter(at)
    initiators.add(initiator)
  }
  return [...initiators]
}

/** The initiator port that REGISTER AND MOVE moves to, or why there is none. */
export function destinationInitiator(list: Uint8Array): string | Outcome {
  const length = lengthAt(list, MOVE_LIST.TRANSPORT_ID_LENGTH)
  if (length > list.length - MOVE_LIST.TRANSPORT_ID) return failed(SENSE.PARAMETER_LIST_LENGTH_ERROR)
  if (length !== TRANSPORT_ID_BYTES) return invalidParameter(MOVE_LIST.TRANSPORT_ID_LENGTH)
  return initiatorAt(list, MOVE_LIST.TRANSPORT_ID) ?? invalidParameter(MOVE_LIST.TRANSPORT_ID)
}

export function portAt(list: Uint8Array): number {
  return list[MOVE_LIST.PORT]! * 256 + list[MOVE_LIST.PORT + 1]!
}

function lengthAt(list: Uint8Array, at: number): number {
  return new DataView(list.buffer, list.byteOffset).getUint32(at)
}
