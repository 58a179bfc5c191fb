import { CONFLICTS } from './access.js'
import { Command, type CommandDefinition, gatherable, type Handler, NEED, PARAMETERS, SCSI_2_LUN } from './command.js'
import { CommandTable } from './command-table.js'
import { compareAndWrite } from './commands/compare-and-write.js'
import { receiveDiagnosticResults, sendDiagnostic } from './commands/diagnostics.js'
import {
  copyFailureDetailsService,
  copyService,
  copyStatusService,
  extendedCopy,
  receiveCopyResult,
} from './commands/extended-copy.js'
import { formatService, formatUnit } from './commands/format-unit.js'
import { getLbaStatus } from './commands/get-lba-status.js'
import { inquiry } from './commands/inquiry.js'
import { logSelect } from './commands/log-select.js'
import { logSense } from './commands/log-sense.js'
import { modeSelect6, modeSelect10, selectMode } from './commands/mode-select.js'
import { modeSense6, modeSense10 } from './commands/mode-sense.js'
import { orWrite16 } from './commands/orwrite.js'
import {
  changeReservations,
  persistentReserveIn,
  persistentReserveOut,
  reportReservations,
} from './commands/persistent-reserve.js'
import { preFetch10, preFetch16 } from './commands/pre-fetch.js'
import { preventAllowMediumRemoval } from './commands/prevent-allow.js'
import { readCapacity10, readCapacity16 } from './commands/read-capacity.js'
import { readDefectData10, readDefectData12 } from './commands/read-defect-data.js'
import { read6, read10, read12, read16, write6, write10, write12, write16 } from './commands/read-write.js'
import { answerBuffer, fillBuffer, readBuffer10, readBuffer16, writeBuffer } from './commands/read-write-buffer.js'
import { receiveCopyOperatingParameters } from './commands/receive-copy-results.js'
import { reportLuns } from './commands/report-luns.js'
import { reportOperationCodes, reportTaskManagementFunctions } from './commands/report-supported.js'
import { answerTargetPortGroups, reportTargetPortGroups } from './commands/report-target-port-groups.js'
import { requestSense } from './commands/request-sense.js'
import { releaseForNexus, reserveForNexus, reserveOrRelease } from './commands/reserve-release.js'
import {
  blockEraseService,
  exitFailureModeService,
  overwriteService,
  sanitizeOverwrite,
  sanitizeWithoutParameters,
} from './commands/sanitize.js'
import { loadOrEject, startStopUnit } from './commands/start-stop-unit.js'
import { synchronizeCache10, synchronizeCache16 } from './commands/synchronize-cache.js'
import { testUnitReady } from './commands/unit-ready.js'
import { unmap } from './commands/unmap.js'
import {
  verify10,
  verify12,
  verify16,
  writeAndVerify10,
  writeAndVerify12,
  writeAndVerify16,
} from './commands/verify.js'
import { writeAtomic16 } from './commands/write-atomic.js'
import { writeSame10, writeSame16 } from './commands/write-same.js'
import { DIRECTION, type Task } from './task.js'
import type { UnitConfig } from './unit-config.js'

type Traits = Omit<CommandDefinition, 'name' | 'usage' | 'handler'>

/** Seconds for commands that may have to go over much of the medium. */
const LONG = 120

const READY: Traits = { needs: NEED.MEDIUM, ignored: SCSI_2_LUN, conflicts: CONFLICTS.RESERVED }
const ANSWERS: Traits = { direction: DIRECTION.IN, conflicts: CONFLICTS.READS }
/** The same, but through every reservation. */
const ANSWERS_ALL: Traits = { ...ANSWERS, conflicts: CONFLICTS.NEVER }
const ANSWERS_ALWAYS: Traits = { ...ANSWERS_ALL, needs: NEED.IGNORES_ATTENTION }
const IDENTIFIES: Traits = { ...ANSWERS_ALWAYS, ignored: SCSI_2_LUN }
const CONTROLS: Traits = {}
/** To allow the removal conflicts with nothing. */
const PREVENTS: Traits = { exempt: { byte: 4, mask: 0x03, value: 0x00 } }
/** Stopping flushes, and an eject waits for what is in flight. To start, without a power condition, conflicts with nothing. */
const STARTS: Traits = { timeout: LONG, service: loadOrEject, exempt: { byte: 4, mask: 0xf1, value: 0x01 } }
/** It may have to wait for what is in flight, and flush. */
const SELECTS: Traits = { direction: DIRECTION.OUT, timeout: LONG, service: selectMode }
const TESTS: Traits = { direction: DIRECTION.OUT, needs: NEED.MEDIUM, parameters: PARAMETERS.WORD_3, timeout: LONG }
const FILLS: Traits = { direction: DIRECTION.OUT, parameters: PARAMETERS.TRIPLE_6, service: fillBuffer }
const EMPTIES: Traits = { ...ANSWERS, service: answerBuffer }
const PREPARES: Traits = { needs: NEED.MEDIUM, conflicts: CONFLICTS.READS }
const READS: Traits = { ...ANSWERS, needs: NEED.MEDIUM }
const SIZES: Traits = { ...ANSWERS_ALL, needs: NEED.MEDIUM }
const FLUSHES: Traits = { needs: NEED.MEDIUM | NEED.DURABLE, timeout: LONG }
const CHECKS: Traits = {
  direction: DIRECTION.OUT,
  needs: NEED.MEDIUM,
  timeout: LONG,
  conflicts: CONFLICTS.READS,
}
const WRITES: Traits = { direction: DIRECTION.OUT, needs: NEED.MEDIUM | NEED.WRITES | NEED.DURABLE }
const WRITES_CHECKED: Traits = { ...WRITES, timeout: LONG }
/** What a second time would not leave as the first one did, or would compare with what the first one wrote. */
const WRITES_ONCE: Traits = { ...WRITES, repeatable: false }
const REPEATS: Traits = { ...WRITES, parameters: PARAMETERS.ONE_BLOCK, timeout: LONG }
const UNMAPS: Traits = { ...WRITES, parameters: PARAMETERS.WORD_7, timeout: LONG }

/** What writes the whole medium. Its time depends on that: the longest that can be told. */
const WIPES: Traits = { ...WRITES, timeout: 0xffff }
const COPIES: Traits = { direction: DIRECTION.OUT, parameters: PARAMETERS.LONG_10, repeatable: false, timeout: 0xffff }
const COPY_ANSWERS: Traits = { ...ANSWERS, conflicts: CONFLICTS.RESERVED }

/** With persistent reservations these deal themselves. */
const RESERVES: Traits = { conflicts: CONFLICTS.RESERVED, service: reserveForNexus }
const RELEASES: Traits = { conflicts: CONFLICTS.NEVER, service: releaseForNexus }
const RESERVE_INS: Traits = { direction: DIRECTION.IN, conflicts: CONFLICTS.RESERVED, service: reportReservations }
const RESERVE_OUTS: Traits = {
  direction: DIRECTION.OUT,
  parameters: PARAMETERS.LONG_5,
  conflicts: CONFLICTS.RESERVED,
  repeatable: false,
  timeout: LONG,
  service: changeReservations,
}

/** A command that its opcode tells, the first byte of its usage data. */
function command(name: string, usage: string, traits: Traits, handler: Handler): Command {
  return new Command({ name, usage, ...traits, handler })
}

/** A command that opcode and service action tell, the first two bytes of its usage data. */
function action(name: string, usage: string, traits: Traits, handler: Handler): Command {
  return new Command({ name, usage, hasServiceAction: true, ...traits, handler })
}

const IN = (action: string) => `5e ${action} 00 00 00 00 00 ff ff 00`
/** SCOPE and TYPE; PARAMETER LIST LENGTH. */
const OUT = (action: string) => `5f ${action} ff 00 00 ff ff ff ff 00`

/** Reservations: the persistent ones, and those of SPC-2. */
const RESERVATIONS: readonly Command[] = [
  command('RESERVE(6)', '16 00 00 00 00 00', { ...RESERVES, ignored: SCSI_2_LUN }, reserveOrRelease),
  command('RELEASE(6)', '17 00 00 00 00 00', { ...RELEASES, ignored: SCSI_2_LUN }, reserveOrRelease),
  command('RESERVE(10)', '56 00 00 00 00 00 00 00 00 00', RESERVES, reserveOrRelease),
  command('RELEASE(10)', '57 00 00 00 00 00 00 00 00 00', RELEASES, reserveOrRelease),
  action('PERSISTENT RESERVE IN, READ KEYS', IN('00'), RESERVE_INS, persistentReserveIn),
  action('PERSISTENT RESERVE IN, READ RESERVATION', IN('01'), RESERVE_INS, persistentReserveIn),
  action('PERSISTENT RESERVE IN, REPORT CAPABILITIES', IN('02'), RESERVE_INS, persistentReserveIn),
  action('PERSISTENT RESERVE IN, READ FULL STATUS', IN('03'), RESERVE_INS, persistentReserveIn),
  action('PERSISTENT RESERVE OUT, REGISTER', OUT('00'), RESERVE_OUTS, persistentReserveOut),
  action('PERSISTENT RESERVE OUT, RESERVE', OUT('01'), RESERVE_OUTS, persistentReserveOut),
  action('PERSISTENT RESERVE OUT, RELEASE', OUT('02'), RESERVE_OUTS, persistentReserveOut),
  action('PERSISTENT RESERVE OUT, CLEAR', OUT('03'), RESERVE_OUTS, persistentReserveOut),
  action('PERSISTENT RESERVE OUT, PREEMPT', OUT('04'), RESERVE_OUTS, persistentReserveOut),
  action('PERSISTENT RESERVE OUT, PREEMPT AND ABORT', OUT('05'), RESERVE_OUTS, persistentReserveOut),
  action('PERSISTENT RESERVE OUT, REGISTER AND IGNORE EXISTING KEY', OUT('06'), RESERVE_OUTS, persistentReserveOut),
  action('PERSISTENT RESERVE OUT, REGISTER AND MOVE', OUT('07'), RESERVE_OUTS, persistentReserveOut),
]

/**
 * The commands of a disk. The hex is the CDB usage data: a bit that is 0 there is refused if it is set, so RDPROTECT
 * and WRPROTECT (no protection information), NACA (NormACA is 0), ANCHOR and whatever is reserved need no other check.
 * Obsolete bits that initiators still set are let through.
 */
const DISK: readonly Command[] = [
  ...RESERVATIONS,
  command('TEST UNIT READY', '00 00 00 00 00 00', READY, testUnitReady),
  command('REQUEST SENSE', '03 01 00 00 ff 00', IDENTIFIES, requestSense),
  // LONGLIST, FMTDATA, CMPLST, DEFECT LIST FORMAT
  command(
    'FORMAT UNIT',
    '04 3f 00 00 00 00',
    { ...WIPES, parameters: PARAMETERS.FORMAT, service: formatService },
    formatUnit,
  ),
  command('READ(6)', '08 1f ff ff ff 00', READS, read6),
  command('WRITE(6)', '0a 1f ff ff ff 00', WRITES, write6),
  command('INQUIRY', '12 01 ff ff ff 00', IDENTIFIES, inquiry),
  // PF
  command('MODE SELECT(6)', '15 10 00 00 ff 00', { ...SELECTS, parameters: PARAMETERS.BYTE_4 }, modeSelect6),
  command('MODE SENSE(6)', '1a 08 ff ff ff 00', ANSWERS, modeSense6),
  // IMMED; POWER CONDITION MODIFIER; POWER CONDITION, NO_FLUSH, LOEJ, START
  command('START STOP UNIT', '1b 01 00 0f f7 00', STARTS, startStopUnit),
  // PCV
  command('RECEIVE DIAGNOSTIC RESULTS', '1c 01 ff ff ff 00', ANSWERS, receiveDiagnosticResults),
  // PF, SELFTEST, DEVOFFL, UNITOFFL
  command('SEND DIAGNOSTIC', '1d 17 00 ff ff 00', TESTS, sendDiagnostic),
  command('PREVENT ALLOW MEDIUM REMOVAL', '1e 00 00 00 01 00', PREVENTS, preventAllowMediumRemoval),
  // LOGICAL BLOCK ADDRESS and PMI are obsolete.
  command('READ CAPACITY(10)', '25 00 ff ff ff ff 00 00 01 00', SIZES, readCapacity10),
  // DPO, FUA
  command('READ(10)', '28 18 ff ff ff ff 00 ff ff 00', READS, read10),
  command('WRITE(10)', '2a 18 ff ff ff ff 00 ff ff 00', WRITES, write10),
  // DPO, BYTCHK
  command('WRITE AND VERIFY(10)', '2e 12 ff ff ff ff 00 ff ff 00', WRITES_CHECKED, writeAndVerify10),
  command('VERIFY(10)', '2f 16 ff ff ff ff 00 ff ff 00', CHECKS, verify10),
  // IMMED
  // IMMED; GROUP NUMBER, which is taken no notice of
  command('PRE-FETCH(10)', '34 02 ff ff ff ff 1f ff ff 00', PREPARES, preFetch10),
  // SYNC_NV (obsolete), IMMED
  command('SYNCHRONIZE CACHE(10)', '35 06 ff ff ff ff 00 ff ff 00', FLUSHES, synchronizeCache10),
  // REQ_PLIST, REQ_GLIST, DEFECT LIST FORMAT
  command('READ DEFECT DATA(10)', '37 00 1f 00 00 00 00 ff ff 00', ANSWERS, readDefectData10),
  // MODE
  command('WRITE BUFFER', '3b 1f ff ff ff ff ff ff ff 00', FILLS, writeBuffer),
  command('READ BUFFER(10)', '3c 1f ff ff ff ff ff ff ff 00', EMPTIES, readBuffer10),
  // PCR; PC and page code
  command('LOG SELECT', '4c 02 ff ff 00 00 00 00 00 00', CONTROLS, logSelect),
  command('LOG SENSE', '4d 00 ff ff 00 ff ff ff ff 00', ANSWERS_ALL, logSense),
  command(
    'MODE SELECT(10)',
    '55 10 00 00 00 00 00 ff ff 00',
    { ...SELECTS, parameters: PARAMETERS.WORD_7 },
    modeSelect10,
  ),
  // IMMED, AUSE
  action(
    'SANITIZE, OVERWRITE',
    '48 a1 00 00 00 00 00 ff ff 00',
    { ...WIPES, parameters: PARAMETERS.WORD_7, service: overwriteService },
    sanitizeOverwrite,
  ),
  action(
    'SANITIZE, EXIT FAILURE MODE',
    '48 bf 00 00 00 00 00 ff ff 00',
    { ...WIPES, service: exitFailureModeService },
    sanitizeWithoutParameters,
  ),
  command('MODE SENSE(10)', '5a 18 ff ff 00 00 00 ff ff 00', ANSWERS, modeSense10),
  action(
    'EXTENDED COPY(LID1)',
    '83 00 00 00 00 00 00 00 00 00 ff ff ff ff 00 00',
    { ...COPIES, service: copyService },
    extendedCopy,
  ),
  action(
    'RECEIVE COPY STATUS(LID1)',
    '84 00 ff 00 00 00 00 00 00 00 ff ff ff ff 00 00',
    { ...COPY_ANSWERS, service: copyStatusService },
    receiveCopyResult,
  ),
  action(
    'RECEIVE COPY OPERATING PARAMETERS',
    '84 03 00 00 00 00 00 00 00 00 ff ff ff ff 00 00',
    COPY_ANSWERS,
    receiveCopyOperatingParameters,
  ),
  action(
    'RECEIVE COPY FAILURE DETAILS(LID1)',
    '84 04 ff 00 00 00 00 00 00 00 ff ff ff ff 00 00',
    { ...COPY_ANSWERS, service: copyFailureDetailsService },
    receiveCopyResult,
  ),
  command('READ(16)', '88 18 ff ff ff ff ff ff ff ff ff ff ff ff 00 00', READS, read16),
  // NUMBER OF LOGICAL BLOCKS is a byte.
  command('COMPARE AND WRITE', '89 18 ff ff ff ff ff ff ff ff 00 00 00 ff 00 00', WRITES_ONCE, compareAndWrite),
  command('WRITE(16)', '8a 18 ff ff ff ff ff ff ff ff ff ff ff ff 00 00', WRITES, write16),
  command('ORWRITE(16)', '8b 18 ff ff ff ff ff ff ff ff ff ff ff ff 00 00', WRITES_ONCE, orWrite16),
  command('WRITE AND VERIFY(16)', '8e 12 ff ff ff ff ff ff ff ff ff ff ff ff 00 00', WRITES_CHECKED, writeAndVerify16),
  command('VERIFY(16)', '8f 16 ff ff ff ff ff ff ff ff ff ff ff ff 00 00', CHECKS, verify16),
  command('PRE-FETCH(16)', '90 02 ff ff ff ff ff ff ff ff ff ff ff ff 1f 00', PREPARES, preFetch16),
  command('SYNCHRONIZE CACHE(16)', '91 06 ff ff ff ff ff ff ff ff ff ff ff ff 00 00', FLUSHES, synchronizeCache16),
  // LOGICAL BLOCK ADDRESS and PMI are obsolete.
  action('READ CAPACITY(16)', '9e 10 ff ff ff ff ff ff ff ff ff ff ff ff 01 00', SIZES, readCapacity16),
  action('GET LBA STATUS', '9e 12 ff ff ff ff ff ff ff ff ff ff ff ff 00 00', READS, getLbaStatus),
  command('READ BUFFER(16)', '9b 1f ff ff ff ff ff ff ff ff ff ff ff ff ff 00', EMPTIES, readBuffer16),
  command('REPORT LUNS', 'a0 00 ff 00 00 00 ff ff ff ff 00 00', ANSWERS_ALWAYS, reportLuns),
  // PARAMETER DATA FORMAT
  action(
    'REPORT TARGET PORT GROUPS',
    'a3 ea 00 00 00 00 ff ff ff ff 00 00',
    { ...ANSWERS_ALL, service: answerTargetPortGroups },
    reportTargetPortGroups,
  ),
  action('REPORT SUPPORTED OPERATION CODES', 'a3 0c 87 ff ff ff ff ff ff ff 00 00', ANSWERS, reportOperationCodes),
  action(
    'REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS',
    'a3 0d 80 00 00 00 ff ff ff ff 00 00',
    ANSWERS,
    reportTaskManagementFunctions,
  ),
  command('READ(12)', 'a8 18 ff ff ff ff ff ff ff ff 00 00', READS, read12),
  command('WRITE(12)', 'aa 18 ff ff ff ff ff ff ff ff 00 00', WRITES, write12),
  command('WRITE AND VERIFY(12)', 'ae 12 ff ff ff ff ff ff ff ff 00 00', WRITES_CHECKED, writeAndVerify12),
  command('VERIFY(12)', 'af 16 ff ff ff ff ff ff ff ff 00 00', CHECKS, verify12),
  // REQ_PLIST, REQ_GLIST, DEFECT LIST FORMAT; ADDRESS DESCRIPTOR INDEX
  command('READ DEFECT DATA(12)', 'b7 1f ff ff ff ff ff ff ff ff 00 00', ANSWERS, readDefectData12),
]

/** What a thin provisioned disk has: UNMAP, and UNMAP in byte 1 of WRITE SAME; NDOB. */
const THIN: readonly Command[] = [
  command('WRITE SAME(10)', '41 08 ff ff ff ff 00 ff ff 00', REPEATS, writeSame10),
  action(
    'SANITIZE, BLOCK ERASE',
    '48 a2 00 00 00 00 00 ff ff 00',
    { ...WIPES, service: blockEraseService },
    sanitizeWithoutParameters,
  ),
  command('UNMAP', '42 00 00 00 00 00 00 ff ff 00', UNMAPS, unmap),
  command('WRITE SAME(16)', '93 09 ff ff ff ff ff ff ff ff ff ff ff ff 00 00', REPEATS, writeSame16),
]

const FULL: readonly Command[] = [
  command('WRITE SAME(10)', '41 00 ff ff ff ff 00 ff ff 00', REPEATS, writeSame10),
  command('WRITE SAME(16)', '93 01 ff ff ff ff ff ff ff ff ff ff ff ff 00 00', REPEATS, writeSame16),
]

/** What a disk with atomic writes has. An ATOMIC BOUNDARY other than 0 is refused: a command is one atomic write. */
const ATOMIC: readonly Command[] = [
  command('WRITE ATOMIC(16)', '9c 18 ff ff ff ff ff ff ff ff 00 00 ff ff 00 00', WRITES, writeAtomic16),
]

/** The commands of a thin provisioned disk with atomic writes (see UnitConfig): all there are. */
export const DISK_COMMANDS = new CommandTable([...DISK, ...THIN, ...ATOMIC])
/** Those of a disk without UNMAP. */
export const FULL_DISK_COMMANDS = new CommandTable([...DISK, ...FULL, ...ATOMIC])
const THIN_DISK_COMMANDS = new CommandTable([...DISK, ...THIN])
const PLAIN_DISK_COMMANDS = new CommandTable([...DISK, ...FULL])

/** The commands of a unit. */
export function commandsOf({ discard, atomicWrites = false }: UnitConfig): CommandTable {
  if (atomicWrites) return discard ? DISK_COMMANDS : FULL_DISK_COMMANDS
  return discard ? THIN_DISK_COMMANDS : PLAIN_DISK_COMMANDS
}

/**
 * Bytes of data-out that the transport has to gather into `task.parameters` (and count in `task.parameterLength`)
 * before execute(): 0 for most commands, never more than dataOutLength or MAX_PARAMETER_BYTES. Needs the CDB and
 * dataOutLength.
 */
export function parameterListLength(task: Task): number {
  const entry = DISK_COMMANDS.find(task.cdbBytes)
  return entry.parameters === PARAMETERS.NONE ? 0 : gatherable(task, entry.parameterListLength(task.cdb))
}
