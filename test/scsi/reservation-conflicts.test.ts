// Every command of the table against the tables of the standards.
import t from 'tap'
import { ACCESS } from '../../scsi/access.js'
import { DISK_COMMANDS, FULL_DISK_COMMANDS } from '../../scsi/cdb-table.js'
import type { Command } from '../../scsi/command.js'
import { accessOf, type ItNexus, NO_RESERVATIONS } from '../../scsi/reservations/index.js'
import { A, B, C, ReservedUnit } from './support/reservations.js'

/**
 * A row of SPC-4 table 65 or SBC-4 table 13 ("commands that are allowed in the presence of various reservations"), one letter for each column:
 * Write Exclusive and Exclusive Access for any nexus, a registered nexus where registrants are admitted, Write Exclusive and Exclusive Access of
 * these kinds for one that is not registered. A: allowed, C: conflict. After it what SPC-2 and SBC have for a unit that another one has RESERVEd.
 */
const ROWS: Readonly<Record<string, string>> = {
  // SPC
  'EXTENDED COPY': 'CCACC C',
  INQUIRY: 'AAAAA A',
  'LOG SELECT': 'CCACC C',
  'LOG SENSE': 'AAAAA A',
  'MODE SELECT': 'CCACC C',
  'MODE SENSE': 'ACAAC C',
  'PERSISTENT RESERVE IN': 'AAAAA C',
  'READ BUFFER': 'ACAAC C',
  'RECEIVE COPY STATUS': 'AAAAA C',
  'RECEIVE COPY OPERATING PARAMETERS': 'AAAAA C',
  'RECEIVE COPY FAILURE DETAILS': 'AAAAA C',
  'RECEIVE DIAGNOSTIC RESULTS': 'ACAAC C',
  'REPORT LUNS': 'AAAAA A',
  'REPORT SUPPORTED OPERATION CODES': 'ACAAC C',
  'REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS': 'ACAAC C',
  'REPORT TARGET PORT GROUPS': 'AAAAA A',
  'REQUEST SENSE': 'AAAAA A',
  'SEND DIAGNOSTIC': 'CCACC C',
  'TEST UNIT READY': 'AAAAA C',
  'WRITE BUFFER': 'CCACC C',
  // SPC-2, and PERSISTENT RESERVE OUT, whose table 66 is the unit server's.
  RELEASE: 'AAAAA A',
  RESERVE: 'AAAAA C',
  'PERSISTENT RESERVE OUT': 'AAAAA C',
  // SBC
  'COMPARE AND WRITE': 'CCACC C',
  'FORMAT UNIT': 'CCACC C',
  'GET LBA STATUS': 'ACAAC C',
  ORWRITE: 'CCACC C',
  'PRE-FETCH': 'ACAAC C',
  READ: 'ACAAC C',
  'READ CAPACITY': 'AAAAA A',
  'READ DEFECT DATA': 'ACAAC C',
  SANITIZE: 'CCACC C',
  'SYNCHRONIZE CACHE': 'CCACC C',
  UNMAP: 'CCACC C',
  VERIFY: 'ACAAC C',
  WRITE: 'CCACC C',
  'WRITE AND VERIFY': 'CCACC C',
  'WRITE ATOMIC': 'CCACC C',
  'WRITE SAME': 'CCACC C',
}

/** Those whose CDB decides: byte 4, and the row. */
const BY_CDB: Readonly<Record<string, readonly (readonly [number, string])[]>> = {
  'PREVENT ALLOW MEDIUM REMOVAL': [
    [0x00, 'AAAAA A'],
    [0x01, 'CCACC C'],
    [0x02, 'CCACC C'],
    [0x03, 'CCACC C'],
  ],
  'START STOP UNIT': [
    [0x01, 'AAAAA A'],
    [0x03, 'AAAAA A'],
    [0x00, 'CCACC C'],
    [0x02, 'CCACC C'],
    [0x04, 'CCACC C'],
    [0x11, 'CCACC C'],
    [0xf1, 'CCACC C'],
  ],
}

/** Access words by column: A holds the reservation, B is registered, C is not. */
const COLUMNS: readonly (readonly number[])[] = [
  [access(1, B), access(1, C)],
  [access(3, B), access(3, C)],
  [5, 6, 7, 8].map((type) => access(type, B)),
  [access(5, C), access(7, C)],
  [access(6, C), access(8, C)],
  [accessOf({ ...NO_RESERVATIONS, reserved: A }, B)],
]

function access(type: number, nexus: ItNexus): number {
  return accessOf(new ReservedUnit().register(A, 1).register(B, 2).reserve(A, 1, type).state, nexus)
}

/** Without CDB size, list identifier length and service action of persistent reservations. */
function nameOf({ name }: Command): string {
  return name.replace(/\(.*\)$/, '').replace(/^(PERSISTENT RESERVE (IN|OUT)|SANITIZE),.*/, '$1')
}

function rowOf(command: Command, cdb: Uint8Array): string {
  const cells = COLUMNS.map((words) => {
    const conflicts = new Set(words.map((word) => command.conflictsWith(word, cdb)))
    return conflicts.size > 1 ? '?' : conflicts.has(true) ? 'C' : 'A'
  })
  return `${cells.slice(0, 5).join('')} ${cells[5]}`
}

for (const { commands } of [DISK_COMMANDS, FULL_DISK_COMMANDS]) {
  t.test('commands and rows', async (t) => {
    for (const command of commands) {
      const name = nameOf(command)
      const cdb = new Uint8Array(32)
      const variants = BY_CDB[name]
      if (variants === undefined) t.equal(rowOf(command, cdb), ROWS[name], command.name)
      for (const [byte, row] of variants ?? []) {
        cdb[4] = byte
        t.equal(rowOf(command, cdb), row, `${command.name}, byte 4 ${byte.toString(16)}`)
      }
    }
  })
}

t.test('holders and who is alone conflict with nothing', async (t) => {
  for (const type of [1, 3, 5, 6, 7, 8]) t.equal(access(type, A), 0)
  t.equal(accessOf(NO_RESERVATIONS, A), 0)
  for (const command of DISK_COMMANDS.commands) t.notOk(command.conflictsWith(0, new Uint8Array(32)), command.name)
})

t.test('what is not in the table conflicts with nothing: it does not exist', async (t) => {
  const everything = ACCESS.WRITE_EXCLUSIVE | ACCESS.EXCLUSIVE_ACCESS | ACCESS.RESERVED
  for (const cdb of [[0xff], [0x5e, 0x1f], [0x5f, 0x08], [0x9e, 0x1f]]) {
    const bytes = new Uint8Array(32)
    bytes.set(cdb)
    const command = DISK_COMMANDS.find(bytes)
    t.notOk(command.supported)
    t.notOk(command.conflictsWith(everything, bytes))
  }
})
