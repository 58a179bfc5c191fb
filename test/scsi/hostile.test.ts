import fc from 'fast-check'
import t from 'tap'
import {
  ACTION,
  type Command,
  complete,
  DIRECTION,
  DISK_COMMANDS,
  FLAG,
  MAX_PARAMETER_BYTES,
  parameterListLength,
  raiseAttention,
  SENSE_BYTES,
  STATUS,
  Task,
} from '../../scsi/index.js'
import { times } from '../support/long.js'
import { BLOCKS, type Fixture, fixture } from './support/fixture.js'

/** Where the commands with an ALLOCATION LENGTH have it. */
const ALLOCATION_LENGTH: Record<string, (cdb: DataView) => number> = {
  'REQUEST SENSE': (cdb) => cdb.getUint8(4),
  INQUIRY: (cdb) => cdb.getUint16(3),
  'MODE SENSE(6)': (cdb) => cdb.getUint8(4),
  'MODE SENSE(10)': (cdb) => cdb.getUint16(7),
  'READ CAPACITY(10)': () => 8,
  'READ CAPACITY(16)': (cdb) => cdb.getUint32(10),
  'RECEIVE DIAGNOSTIC RESULTS': (cdb) => cdb.getUint16(3),
  'READ BUFFER(10)': (cdb) => cdb.getUint32(5) & 0xffffff,
  'READ BUFFER(16)': (cdb) => cdb.getUint32(10),
  'READ DEFECT DATA(10)': (cdb) => cdb.getUint16(7),
  'READ DEFECT DATA(12)': (cdb) => cdb.getUint32(6),
  'LOG SENSE': (cdb) => cdb.getUint16(7),
  'GET LBA STATUS': (cdb) => cdb.getUint32(10),
  'PERSISTENT RESERVE IN, READ KEYS': (cdb) => cdb.getUint16(7),
  'PERSISTENT RESERVE IN, READ RESERVATION': (cdb) => cdb.getUint16(7),
  'PERSISTENT RESERVE IN, REPORT CAPABILITIES': (cdb) => cdb.getUint16(7),
  'PERSISTENT RESERVE IN, READ FULL STATUS': (cdb) => cdb.getUint16(7),
  'REPORT LUNS': (cdb) => cdb.getUint32(6),
  'REPORT TARGET PORT GROUPS': (cdb) => cdb.getUint32(6),
  'REPORT SUPPORTED OPERATION CODES': (cdb) => cdb.getUint32(6),
  'REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS': (cdb) => cdb.getUint32(6),
}

const OPERATIONS: number[] = [
  ACTION.READ,
  ACTION.WRITE,
  ACTION.FLUSH,
  ACTION.DISCARD,
  ACTION.WRITE_ZEROES,
  ACTION.WRITE_PATTERN,
  ACTION.COMPARE,
  ACTION.VERIFY,
  ACTION.PREFETCH,
  ACTION.FIND_HOLE,
  ACTION.FIND_DATA,
  ACTION.COMPARE_AND_WRITE,
  ACTION.OR_WRITE,
  ACTION.WRITE_ATOMIC,
]

const TAKES_DATA: number[] = [ACTION.WRITE, ACTION.COMPARE, ACTION.OR_WRITE, ACTION.WRITE_ATOMIC]

interface Attempt {
  readonly cdb: Uint8Array
  readonly dataOut: number
  readonly dataIn: number
  readonly parameters: Uint8Array
  readonly attention: number
  readonly flags: number
  readonly lun: number
  readonly results: readonly number[]
}

/** A CDB of any bytes, of a command there is, or of one with nothing in it that is refused. */
const cdbs = fc
  .record({
    bytes: fc.uint8Array({ minLength: 32, maxLength: 32 }),
    command: fc.constantFrom<Command | null>(null, ...DISK_COMMANDS.commands),
    allowed: fc.nat(3).map((one) => one > 0),
    // Small numbers make ranges that are on the medium.
    small: fc.nat(3).map((one) => one > 0),
  })
  .map(({ bytes, command, allowed, small }) => {
    const cdb = bytes.slice()
    if (command === null) return cdb
    cdb[0] = command.opcode
    for (let i = 1; i < command.length; i++) {
      if (allowed) cdb[i]! &= command.usage[i]!
      if (small && i >= 2 && i < command.length - 4) cdb[i] = 0
    }
    if (command.serviceAction >= 0) cdb[1] = (cdb[1]! & 0xe0) | command.serviceAction
    return cdb
  })

const lengths = fc.oneof(fc.nat(64), fc.constantFrom(0, 512, 1024, 4096, 65536, 2 ** 20), fc.nat(2 ** 40))

const attempts: fc.Arbitrary<Attempt> = fc.record({
  cdb: cdbs,
  dataOut: lengths,
  dataIn: lengths,
  parameters: fc.uint8Array({ maxLength: 80 }),
  attention: fc.oneof({ weight: 8, arbitrary: fc.constant(0) }, { weight: 1, arbitrary: fc.integer() }),
  flags: fc.oneof({ weight: 4, arbitrary: fc.constant(FLAG.WRITE_CACHE) }, { weight: 1, arbitrary: fc.nat(0xff) }),
  lun: fc.oneof({ weight: 8, arbitrary: fc.constant(0) }, { weight: 1, arbitrary: fc.constantFrom(1, 300, 0xc101) }),
  results: fc.array(fc.oneof(fc.constant(0), fc.nat(4096), fc.integer({ min: -140, max: -1 })), { maxLength: 4 }),
})

/** Throws if an operation is not one that a driver can be given. */
function checkOperation(task: Task, capacityBytes: number): void {
  const { action, offset, length, guestOffset, patternLength } = task
  if (!OPERATIONS.includes(action)) throw new Error(`action ${action}`)
  if (action === ACTION.FLUSH) return
  if (!(Number.isSafeInteger(offset) && Number.isSafeInteger(length) && offset >= 0 && length > 0)) {
    throw new Error(`range ${offset} ${length}`)
  }
  if (offset + length > capacityBytes) throw new Error(`beyond the medium: ${offset} ${length}`)
  const end = guestOffset + length
  if (action === ACTION.READ && end > task.dataInLength) throw new Error('READ beyond the buffer')
  if (TAKES_DATA.includes(action) && end > task.dataOutLength) throw new Error('beyond data-out')
  if (action === ACTION.COMPARE_AND_WRITE && 2 * length > task.dataOutLength) throw new Error('beyond data-out')
  if (action === ACTION.WRITE_PATTERN && !(patternLength > 0 && patternLength <= task.dataOutLength)) {
    throw new Error(`pattern of ${patternLength}`)
  }
}

/** Throws if the end of a task is not one of the ends that there are. */
function checkEnd(task: Task): void {
  if (task.action !== ACTION.DONE) throw new Error(`action ${task.action} at the end`)
  const { GOOD, CHECK_CONDITION, RESERVATION_CONFLICT, TASK_SET_FULL } = STATUS
  const statuses: number[] = [GOOD, CHECK_CONDITION, RESERVATION_CONFLICT, TASK_SET_FULL]
  if (!statuses.includes(task.status)) throw new Error(`status ${task.status}`)
  const checked = task.status === STATUS.CHECK_CONDITION
  if (checked !== task.senseLength > 0 || task.senseLength > SENSE_BYTES) throw new Error(`sense ${task.senseLength}`)
  if (checked && (task.sense[0]! & 0x7c) !== 0x70) throw new Error(`sense response code ${task.sense[0]}`)
  if (task.status !== STATUS.GOOD && task.transferLength + task.dataInCount !== 0) throw new Error('data of a failure')
}

/** Throws if more is moved than there is room for, or than the CDB allows. */
function checkData(task: Task): void {
  const buffer = task.direction === DIRECTION.OUT ? task.dataOutLength : task.dataInLength
  if (task.overrun !== task.transferLength > buffer) throw new Error('overrun')
  if (task.overrun && task.action !== ACTION.DONE) throw new Error('an overrun does something')
  if (task.dataInCount > task.dataInLength || task.dataInCount > task.dataIn.length) throw new Error('too much data')
  if (task.dataInCount === 0) return
  const allocationLength = ALLOCATION_LENGTH[DISK_COMMANDS.find(task.cdbBytes).name]
  if (allocationLength === undefined) throw new Error('data of a command that has none')
  if (task.transferLength > allocationLength(task.cdb)) throw new Error('more than ALLOCATION LENGTH')
}

const gathered = new Uint8Array(MAX_PARAMETER_BYTES)

/** Has the unit's server execute a forwarded task, as a transport does. */
function serve({ server, unitNexus }: Fixture, task: Task, result: () => number): void {
  if (task.transferLength > task.parameterLength) throw new Error('forwarded without its parameters')
  const served = new Task()
  served.cdbBytes.set(task.cdbBytes)
  served.parameters = task.parameters.slice(0, task.transferLength)
  served.parameterLength = served.dataOutLength = served.parameters.length
  served.dataInLength = task.dataInLength
  const effects = server.execute(served, unitNexus)
  if (effects !== null) for (let step = effects.next(0); !step.done; step = effects.next(result()));
  served.limit()
  task.conclude(served.result)
}

function attempt(given: Attempt, task: Task, fixture: Fixture): void {
  const { state, target, unit, nexus } = fixture
  state.clear(0xff)
  state.set(given.flags)
  nexus.attention[0] = 0
  raiseAttention(nexus.attention, given.attention)
  task.cdbBytes.set(given.cdb)
  task.dataOutLength = given.dataOut
  task.dataInLength = given.dataIn
  gathered.fill(0)
  gathered.set(given.parameters)
  task.parameters = gathered
  task.parameterLength = parameterListLength(task)
  if (task.parameterLength > Math.min(given.dataOut, MAX_PARAMETER_BYTES)) throw new Error('too much to gather')
  target.execute(given.lun, task)
  checkData(task)
  const capacityBytes = state.capacity * unit.blockSize
  const program = task.program
  let results = 0
  const result = (): number => given.results[results++ % given.results.length] ?? 0
  if (program !== null) {
    if (task.action !== ACTION.PROGRAM) throw new Error('a program without its action')
    let steps = 0
    for (let step = program.next(0); !step.done; step = program.next(result())) {
      checkOperation(task, capacityBytes)
      if (++steps > BLOCKS) throw new Error('a program without an end')
    }
  } else if (task.action === ACTION.FORWARD) {
    serve(fixture, task, result)
    checkData(task)
  } else if (task.action !== ACTION.DONE) {
    checkOperation(task, capacityBytes)
    complete(task, result())
  }
  checkEnd(task)
}

t.test('no CDB, buffer, parameter or result leads astray', { timeout: 0 }, async (t) => {
  const fixtures = [fixture(), fixture({ blockSize: 4096, discard: false, removable: true })]
  const task = new Task()
  const statuses = new Map<number, number>()
  fc.assert(
    fc.property(attempts, fc.nat(1), (given, which) => {
      attempt(given, task, fixtures[which]!)
      statuses.set(task.senseCode, (statuses.get(task.senseCode) ?? 0) + 1)
    }),
    { numRuns: times(100_000) },
  )
  // Only if much of it got somewhere does this say anything.
  t.ok(statuses.get(0)! > times(5_000), `${statuses.get(0)} were GOOD`)
  t.ok(statuses.size > 15, `${statuses.size} kinds of end`)
})

t.test('a CDB that the initiator changes meanwhile is not looked at again', async (t) => {
  const { nexus } = fixture()
  const task = new Task()
  task.dataOutLength = 65536
  for (const command of DISK_COMMANDS.commands) {
    task.cdbBytes.fill(0)
    task.cdbBytes[0] = command.opcode
    task.cdbBytes[1] = Math.max(command.serviceAction, 0)
    if (command.length > 6) task.cdbBytes[command.length === 16 ? 13 : command.length === 12 ? 9 : 8] = 2
    task.parameterLength = parameterListLength(task)
    task.parameters = new Uint8Array(task.parameterLength)
    task.dataInLength = 65536
    nexus.execute(task)
    if (task.program === null) continue
    task.cdbBytes.fill(0xff)
    let steps = 0
    for (let step = task.program.next(0); !step.done; step = task.program.next(0)) {
      checkOperation(task, BLOCKS * 512)
      steps += 1
    }
    t.ok(steps > 0, command.name)
    t.equal(task.status, 0, command.name)
  }
})
