import type { ItNexus, Notice, Outcome, Reservations } from '../../../scsi/reservations/index.js'
import { NO_RESERVATIONS } from '../../../scsi/reservations/index.js'
import { MOVE_LIST, OUT_LIST } from '../../../scsi/reservations/parameter-list.js'
import { RESERVE_OUT, type ReserveOutContext, reserveOut } from '../../../scsi/reservations/reserve-out.js'
import { putHex, putTransportId, TRANSPORT_ID_BYTES } from '../../../scsi/reservations/transport-id.js'

/** Three initiator ports, each with a target port of its own. */
export const A: ItNexus = { initiator: '300000000000000a', port: 1 }
export const B: ItNexus = { initiator: '300000000000000b', port: 2 }
export const C: ItNexus = { initiator: '300000000000000c', port: 3 }
export const NEXUSES = [A, B, C]
export const PORTS = [1, 2, 3]

/** A reservation key from a small number. */
export function key(value: number): string {
  return value.toString(16).padStart(16, '0')
}

export interface ListFields {
  readonly key?: number
  readonly actionKey?: number
  readonly aptpl?: boolean
  readonly allTargetPorts?: boolean
  /** SPEC_I_PT. */
  readonly initiators?: readonly string[]
}

/** A PERSISTENT RESERVE OUT parameter list. */
export function outList(fields: ListFields = {}): Uint8Array<ArrayBuffer> {
  const { initiators } = fields
  const list = new Uint8Array(
    initiators === undefined ? OUT_LIST.SIZE : OUT_LIST.TRANSPORT_IDS + initiators.length * TRANSPORT_ID_BYTES,
  )
  putKeys(list, fields)
  list[OUT_LIST.FLAGS] =
    (initiators !== undefined ? 8 : 0) | (fields.allTargetPorts === true ? 4 : 0) | (fields.aptpl === true ? 1 : 0)
  if (initiators === undefined) return list
  new DataView(list.buffer).setUint32(OUT_LIST.TRANSPORT_IDS_LENGTH, initiators.length * TRANSPORT_ID_BYTES)
  initiators.forEach((initiator, i) => {
    putTransportId(list, OUT_LIST.TRANSPORT_IDS + i * TRANSPORT_ID_BYTES, initiator)
  })
  return list
}

/** One for REGISTER AND MOVE. */
export function moveList(
  fields: ListFields & { readonly to: ItNexus; readonly unregister?: boolean },
): Uint8Array<ArrayBuffer> {
  const list = new Uint8Array(MOVE_LIST.TRANSPORT_ID + TRANSPORT_ID_BYTES)
  const view = new DataView(list.buffer)
  putKeys(list, fields)
  list[MOVE_LIST.FLAGS] = (fields.unregister === true ? 2 : 0) | (fields.aptpl === true ? 1 : 0)
  view.setUint16(MOVE_LIST.PORT, fields.to.port)
  view.setUint32(MOVE_LIST.TRANSPORT_ID_LENGTH, TRANSPORT_ID_BYTES)
  putTransportId(list, MOVE_LIST.TRANSPORT_ID, fields.to.initiator)
  return list
}

function putKeys(list: Uint8Array, fields: ListFields): void {
  putHex(list, OUT_LIST.KEY, key(fields.key ?? 0))
  putHex(list, OUT_LIST.ACTION_KEY, key(fields.actionKey ?? 0))
}

/** A logical unit's reservations, and commands that change them. */
export class ReservedUnit {
  state: Reservations = NO_RESERVATIONS
  persistent = true
  ports = PORTS

  /** Runs a service action; the state is what it makes of it. */
  out(nexus: ItNexus, action: number, type: number, list: Uint8Array, scope = 0): Outcome {
    const context: ReserveOutContext = { nexus, ports: this.ports, persistent: this.persistent }
    const outcome = reserveOut(this.state, { action, scope, type, list }, context)
    if (outcome.kind === 'done') this.state = outcome.reservations
    return outcome
  }

  /** REGISTER of a nexus that is not registered. */
  register(nexus: ItNexus, actionKey: number): this {
    const outcome = this.out(nexus, RESERVE_OUT.REGISTER, 0, outList({ actionKey }))
    if (outcome.kind !== 'done') throw new Error(`REGISTER: ${outcome.kind}`)
    return this
  }

  reserve(nexus: ItNexus, ownKey: number, type: number): this {
    const outcome = this.out(nexus, RESERVE_OUT.RESERVE, type, outList({ key: ownKey }))
    if (outcome.kind !== 'done') throw new Error(`RESERVE: ${outcome.kind}`)
    return this
  }

  /** Keys by the initiators' last digit, as 'a1 b2'. */
  get keys(): string {
    return this.state.registrants.map((each) => `${each.initiator.at(-1)}${Number.parseInt(each.key, 16)}`).join(' ')
  }
}

/** Notices as text: 'b RESERVATIONS...' by the initiator's last digit and the condition's number. */
export function told(outcome: Outcome): readonly (readonly [string, number])[] {
  const notices: readonly Notice[] = outcome.kind === 'done' ? outcome.notices : []
  return notices.map(({ nexus, condition }) => [nexus.initiator.at(-1)!, condition] as const)
}
