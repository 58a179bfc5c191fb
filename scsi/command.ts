import { CONFLICTS, type Exemption } from './access.js'
import type { Nexus } from './nexus.js'
import { DIRECTION, MAX_PARAMETER_BYTES, type Task } from './task.js'
import type { Service } from './unit-server.js'

/** Opcodes by their names in SPC-4 and SBC-3. */
export const OPCODE = {
  TEST_UNIT_READY: 0x00,
  REQUEST_SENSE: 0x03,
  FORMAT_UNIT: 0x04,
  READ_6: 0x08,
  WRITE_6: 0x0a,
  INQUIRY: 0x12,
  MODE_SELECT_6: 0x15,
  MODE_SENSE_6: 0x1a,
  START_STOP_UNIT: 0x1b,
  RECEIVE_DIAGNOSTIC_RESULTS: 0x1c,
  SEND_DIAGNOSTIC: 0x1d,
  PREVENT_ALLOW_MEDIUM_REMOVAL: 0x1e,
  READ_CAPACITY_10: 0x25,
  READ_10: 0x28,
  WRITE_10: 0x2a,
  WRITE_AND_VERIFY_10: 0x2e,
  VERIFY_10: 0x2f,
  PRE_FETCH_10: 0x34,
  RESERVE_6: 0x16,
  RELEASE_6: 0x17,
  SYNCHRONIZE_CACHE_10: 0x35,
  READ_DEFECT_DATA_10: 0x37,
  WRITE_BUFFER: 0x3b,
  READ_BUFFER_10: 0x3c,
  WRITE_SAME_10: 0x41,
  UNMAP: 0x42,
  SANITIZE: 0x48,
  LOG_SELECT: 0x4c,
  LOG_SENSE: 0x4d,
  MODE_SELECT_10: 0x55,
  RESERVE_10: 0x56,
  RELEASE_10: 0x57,
  MODE_SENSE_10: 0x5a,
  PERSISTENT_RESERVE_IN: 0x5e,
  PERSISTENT_RESERVE_OUT: 0x5f,
  THIRD_PARTY_COPY_OUT: 0x83,
  THIRD_PARTY_COPY_IN: 0x84,
  READ_16: 0x88,
  COMPARE_AND_WRITE: 0x89,
  WRITE_16: 0x8a,
  ORWRITE_16: 0x8b,
  WRITE_AND_VERIFY_16: 0x8e,
  VERIFY_16: 0x8f,
  PRE_FETCH_16: 0x90,
  SYNCHRONIZE_CACHE_16: 0x91,
  WRITE_SAME_16: 0x93,
  WRITE_ATOMIC_16: 0x9c,
  READ_BUFFER_16: 0x9b,
  SERVICE_ACTION_IN_16: 0x9e,
  REPORT_LUNS: 0xa0,
  MAINTENANCE_IN: 0xa3,
  READ_12: 0xa8,
  WRITE_12: 0xaa,
  WRITE_AND_VERIFY_12: 0xae,
  VERIFY_12: 0xaf,
  READ_DEFECT_DATA_12: 0xb7,
} as const

/** Service actions, by opcode; those of persistent reservations are in reservations/. */
export const SERVICE_ACTION = {
  /** SERVICE ACTION IN(16) */
  READ_CAPACITY_16: 0x10,
  GET_LBA_STATUS: 0x12,
  /** THIRD-PARTY COPY OUT */
  EXTENDED_COPY_LID1: 0x00,
  /** THIRD-PARTY COPY IN */
  RECEIVE_COPY_STATUS: 0x00,
  RECEIVE_COPY_OPERATING_PARAMETERS: 0x03,
  RECEIVE_COPY_FAILURE_DETAILS: 0x04,
  /** MAINTENANCE IN */
  REPORT_TARGET_PORT_GROUPS: 0x0a,
  REPORT_SUPPORTED_OPERATION_CODES: 0x0c,
  REPORT_SUPPORTED_TASK_MANAGEMENT_FUNCTIONS: 0x0d,
} as const

/** What has to be known of a command before it is taken. */
export const NEED = {
  /** The command goes on although a unit attention is pending (SAM-5 5.14.5). */
  IGNORES_ATTENTION: 1 << 0,
  /** The command needs a medium that is there and ready. */
  MEDIUM: 1 << 1,
  /** The command changes the medium: refused where that is read-only. */
  WRITES: 1 << 2,
  /** The command waits for what was written to be durable, or writes: refused after a failed flush. */
  DURABLE: 1 << 3,
} as const

/** Where a CDB says how long its parameter list is. */
export const PARAMETERS = {
  NONE: 0,
  /** Byte 4. */
  BYTE_4: 1,
  /** Bytes 3 and 4. */
  WORD_3: 2,
  /** Bytes 7 and 8. */
  WORD_7: 3,
  /** One logical block, whose size the CDB does not tell: as much as any block has. */
  ONE_BLOCK: 4,
  /** Bytes 5 to 8. */
  LONG_5: 5,
  /** Bytes 6 to 8. */
  TRIPLE_6: 6,
  /** Bytes 10 to 13. */
  LONG_10: 7,
  /** That of FORMAT UNIT, whose CDB tells only whether there is one. */
  FORMAT: 8,
} as const

/** The largest logical block. */
export const MAX_BLOCK_SIZE = 4096

/** The longest parameter list of FORMAT UNIT: two headers, and a block of pattern. */
const FORMAT_LIST_BYTES = 12 + MAX_BLOCK_SIZE

/**
 * Runs a command whose CDB has passed the checks of its descriptor. `flags` is the unit's state word as loaded for this
 * command.
 */
export type Handler = (task: Task, nexus: Nexus, flags: number) => void

/** What the table says of a command. */
export interface CommandDefinition {
  readonly name: string
  /**
   * CDB usage data (SPC-4 6.35.3) in hex, its length the CDB's: a bit that is 0 must be 0 in the CDB. Byte 0 is the
   * opcode; with a service action the lower five bits of byte 1 are that.
   */
  readonly usage: string
  readonly hasServiceAction?: boolean
  readonly direction?: number
  readonly parameters?: number
  /** NEED bits. */
  readonly needs?: number
  /** Recommended command timeout in seconds (SPC-4 6.35.4). */
  readonly timeout?: number
  readonly handler: Handler
  /** Executes the command in the unit's server, if the handler leaves it to that (ACTION.FORWARD). */
  readonly service?: Service
  /**
   * Whether the command may be executed again where it is not known if it was, as after a crash of the device: then it has the same effect and the
   * same answer. Default true; else it ends with ABORTED COMMAND.
   */
  readonly repeatable?: boolean
  /** Which reservations of others it conflicts with: one of CONFLICTS, by default WRITES. */
  readonly conflicts?: number
  /** CDBs that conflict with none. */
  readonly exempt?: Exemption
  /** Bits of byte 1 that are taken no notice of, though there is no use for them. */
  readonly ignored?: number
  /** Default true. */
  readonly supported?: boolean
}

/**
 * What an initiator that knows SCSI-2 only has for the LUN: bits 7 to 5 of byte 1 (SCSI-2 7.2.2). Some firmware still
 * fills it in before it knows better.
 */
export const SCSI_2_LUN = 0xe0

/** The five bits of byte 1 that hold a service action. */
export const SERVICE_ACTION_MASK = 0x1f
/** The most CDB bytes that are checked against the usage data. */
const CHECKED_BYTES = 16
const DEFAULT_TIMEOUT = 30

/**
 * One entry of the command table: all that dispatch, the checks, REPORT SUPPORTED OPERATION CODES and the transport
 * need to know of a command. One class with one shape, for the I/O path looks into it for each command.
 */
export class Command {
  readonly opcode: number
  /** -1: the opcode alone tells. */
  readonly serviceAction: number
  readonly name: string
  readonly length: number
  readonly usage: Uint8Array
  readonly direction: number
  readonly parameters: number
  readonly needs: number
  readonly timeout: number
  readonly handler: Handler
  /** null: the handler does all. */
  readonly service: Service | null
  readonly repeatable: boolean
  readonly conflicts: number
  /** False: stands for what is not in the table. */
  readonly supported: boolean
  /** For an opcode with service actions: the commands by service action, 32 of them. */
  actions: Command[] | null = null
  readonly #exempt: Exemption | null
  /** By byte of the CDB, what must be 0. */
  readonly #refused = new DataView(new ArrayBuffer(CHECKED_BYTES))
  // The same as four big-endian words.
  readonly #refused0: number
  readonly #refused4: number
  readonly #refused8: number
  readonly #refused12: number

  constructor(definition: CommandDefinition) {
    this.name = definition.name
    this.usage = bytesOf(definition.usage)
    this.opcode = this.usage[0]!
    this.serviceAction = definition.hasServiceAction === true ? this.usage[1]! & SERVICE_ACTION_MASK : -1
    this.length = this.usage.length
    this.direction = definition.direction ?? DIRECTION.NONE
    this.parameters = definition.parameters ?? PARAMETERS.NONE
    this.needs = definition.needs ?? 0
    this.timeout = definition.timeout ?? DEFAULT_TIMEOUT
    this.handler = definition.handler
    this.service = definition.service ?? null
    this.repeatable = definition.repeatable ?? true
    this.conflicts = definition.conflicts ?? CONFLICTS.WRITES
    this.#exempt = definition.exempt ?? null
    this.supported = definition.supported ?? true
    const refused = this.#refused
    for (let byte = 1; byte < Math.min(this.length, CHECKED_BYTES); byte++) {
      let allowed = this.usage[byte]!
      if (byte === 1) allowed |= definition.ignored ?? 0
      refused.setUint8(byte, ~allowed & 0xff)
    }
    this.#refused0 = refused.getInt32(0)
    this.#refused4 = refused.getInt32(4)
    this.#refused8 = refused.getInt32(8)
    this.#refused12 = refused.getInt32(12)
  }

  /** Whether the command conflicts with reservations of others, as the nexus's access word has them. */
  conflictsWith(access: number, cdb: Uint8Array): boolean {
    if ((access & this.conflicts) === 0) return false
    const exempt = this.#exempt
    return exempt === null || (cdb[exempt.byte]! & exempt.mask) !== exempt.value
  }

  /**
   * Whether the CDB has a bit set that this command has no use for: reserved, obsolete, or a feature that is not there
   * (such as NACA).
   */
  hasRefusedBits(cdb: DataView): boolean {
    return (
      ((cdb.getInt32(0) & this.#refused0) |
        (cdb.getInt32(4) & this.#refused4) |
        (cdb.getInt32(8) & this.#refused8) |
        (cdb.getInt32(12) & this.#refused12)) !==
      0
    )
  }

  /** Ends a task for which hasRefusedBits() is true: INVALID FIELD IN CDB, pointing at the first such bit. */
  refuse(task: Task): void {
    for (let byte = 1; byte < CHECKED_BYTES; byte++) {
      const refused = task.cdbBytes[byte]! & this.#refused.getUint8(byte)
      if (refused === 0) continue
      task.failCdbField(byte, 31 - Math.clz32(refused))
      return
    }
  }

  /** Bytes of data-out that the CDB wants taken as parameters. */
  parameterListLength(cdb: DataView): number {
    switch (this.parameters) {
      case PARAMETERS.BYTE_4:
        return cdb.getUint8(4)
      case PARAMETERS.WORD_3:
        return cdb.getUint16(3)
      case PARAMETERS.WORD_7:
        return cdb.getUint16(7)
      case PARAMETERS.ONE_BLOCK:
        return MAX_BLOCK_SIZE
      case PARAMETERS.LONG_5:
        return cdb.getUint32(5)
      case PARAMETERS.TRIPLE_6:
        return cdb.getUint32(5) & 0xffffff
      case PARAMETERS.LONG_10:
        return cdb.getUint32(10)
      case PARAMETERS.FORMAT:
        return FORMAT_LIST_BYTES
      default:
        return 0
    }
  }
}

/** The bytes of '12 01 ff'. */
function bytesOf(hex: string): Uint8Array {
  return Uint8Array.from(hex.split(' '), (byte) => Number.parseInt(byte, 16))
}

/** How many bytes of `length` the transport can gather for a task. */
export function gatherable(task: Task, length: number): number {
  return Math.min(length, task.dataOutLength, MAX_PARAMETER_BYTES)
}
