import {
  ACTION,
  complete,
  createNexusWords,
  DIRECTION,
  DISK_COMMANDS,
  type Effects,
  FLAG,
  LogicalUnit,
  MAX_PARAMETER_BYTES,
  Nexus,
  parameterListLength,
  raiseAttention,
  SENSE_BYTES,
  STATUS,
  Target,
  Task,
  type UnitConfig,
  type UnitNexus,
  UnitServer,
  UnitState,
} from '../../../scsi/index.js'
import type { Random } from '../../support/random.js'
import { CONFIG } from './fixture.js'
import { mostDataIn } from './naive-length.js'
import type { RandomCommand } from './random-command.js'

const OPERATIONS: ReadonlySet<number> = new Set(
  Object.values(ACTION).filter((action) => ![ACTION.DONE, ACTION.PROGRAM, ACTION.FORWARD].includes(action as never)),
)
const TAKES_DATA: ReadonlySet<number> = new Set([ACTION.WRITE, ACTION.COMPARE, ACTION.OR_WRITE, ACTION.WRITE_ATOMIC])
const STATUSES: ReadonlySet<number> = new Set([
  STATUS.GOOD,
  STATUS.CHECK_CONDITION,
  STATUS.RESERVATION_CONFLICT,
  STATUS.TASK_SET_FULL,
])
const ALL_FLAGS = Object.values(FLAG).reduce((all, flag) => all | flag, 0)

/** Steps after which a command that takes long is given up, as by a task management function. */
const PATIENCE = 40

/** Throws if a block operation is not one that a driver can be given. */
export function checkOperation(task: Task, capacityBytes: number): void {
  const { action, offset, length, guestOffset, patternLength } = task
  if (!OPERATIONS.has(action)) throw new Error(`action ${action}`)
  if (action === ACTION.FLUSH) return
  if (!(Number.isSafeInteger(offset) && Number.isSafeInteger(length) && offset >= 0 && length > 0)) {
    throw new Error(`range ${offset} ${length}`)
  }
  if (offset + length > capacityBytes) throw new Error(`beyond the medium: ${offset} ${length}`)
  const end = guestOffset + length
  if (action === ACTION.READ && end > task.dataInLength) throw new Error('READ beyond the buffer')
  if (TAKES_DATA.has(action) && end > task.dataOutLength) throw new Error('beyond data-out')
  if (action === ACTION.COMPARE_AND_WRITE && 2 * length > task.dataOutLength) throw new Error('beyond data-out')
  if (action === ACTION.WRITE_PATTERN && !(patternLength > 0 && patternLength <= task.dataOutLength)) {
    throw new Error(`pattern of ${patternLength}`)
  }
}

/** Throws if the end of a task is not one of the ends that there are. */
function checkEnd(task: Task): void {
  if (task.action !== ACTION.DONE) throw new Error(`action ${task.action} at the end`)
  if (!STATUSES.has(task.status)) throw new Error(`status ${task.status}`)
  const checked = task.status === STATUS.CHECK_CONDITION
  if (checked !== task.senseLength > 0 || task.senseLength > SENSE_BYTES) throw new Error(`sense ${task.senseLength}`)
  const response = task.descriptorSense ? 0x72 : 0x70
  // Fixed format has 32 bits for an LBA: beyond them the other one is sent.
  const isResponse = task.sense[0]! === 0x72 || (task.sense[0]! & 0x7f) === response
  if (checked && !isResponse) throw new Error(`sense response code ${task.sense[0]}`)
  if (task.status !== STATUS.GOOD && task.transferLength + task.dataInCount !== 0) throw new Error('data of a failure')
}

/** Throws if more is moved than there is room for, or than the CDB allows. */
function checkData(task: Task, blockSize: number): void {
  const isIn = task.direction !== DIRECTION.OUT
  const buffer = isIn ? task.dataInLength : task.dataOutLength
  if (task.overrun !== task.transferLength > buffer) throw new Error('overrun')
  if (task.overrun && task.action !== ACTION.DONE) throw new Error('an overrun does something')
  if (task.dataInCount > task.dataInLength || task.dataInCount > task.dataIn.length) throw new Error('too much data')
  if (!isIn || task.transferLength === 0) return
  const most = mostDataIn(DISK_COMMANDS.find(task.cdbBytes).name, task.cdb, blockSize)
  if (most === undefined) throw new Error('data of a command that has none')
  if (task.transferLength > most) throw new Error(`${task.transferLength} bytes instead of ${most}`)
}

/** A logical unit that two controllers have, and a transport that has no medium: what operations result in is random. */
export class HostileTarget {
  readonly #random: Random
  readonly #unit: LogicalUnit
  readonly #capacity: number
  readonly #task = new Task()
  #nexuses: readonly { readonly target: Target; readonly nexus: Nexus; readonly unitNexus: UnitNexus }[] = []
  #server!: UnitServer

  constructor(random: Random, changes: Partial<UnitConfig>, capacity: number) {
    this.#random = random
    this.#capacity = capacity
    this.#unit = new LogicalUnit({ ...CONFIG, ...changes }, UnitState.create(capacity), {
      relative: 1,
      name: CONFIG.wwn,
    })
    this.renew()
  }

  /** Forgets reservations, buffers, and whatever else has come of earlier commands. */
  renew(): void {
    const unitNexuses = new Set<UnitNexus>()
    const server = new UnitServer(this.#unit, unitNexuses)
    const reachable = () => [...unitNexuses].map((nexus) => ({ nexus, server }))
    this.#server = server
    this.#nexuses = [1, 2].map((relative) => {
      const nexus = new Nexus(this.#unit, 0, 0, createNexusWords(), false)
      const target = new Target(0)
      target.add(nexus)
      const port = { relative, name: `300000000000000${relative}` }
      const { attention, readOnly } = nexus
      const names = { controller: `vm${relative}`, port, initiator: `500000000000000${relative}` }
      const unitNexus = { ...names, target: 0, lun: 0, readOnly, attention, reachable }
      unitNexuses.add(unitNexus)
      return { target, nexus, unitNexus }
    })
  }

  /** Executes a command to its end; throws if that is not as it must be. Its sense code. */
  execute(command: RandomCommand): number {
    const random = this.#random
    const { state, blockSize } = this.#unit
    const task = this.#task
    const { target, nexus, unitNexus } = this.#nexuses[random.once(8) ? 1 : 0]!
    state.change(
      ALL_FLAGS,
      random.once(5) ? random.next() : FLAG.WRITE_CACHE | (random.once(2) ? FLAG.DESCRIPTOR_SENSE : 0),
    )
    if (state.capacity !== this.#capacity) state.capacity = this.#capacity
    nexus.attention[0] = 0
    if (random.once(9)) raiseAttention(nexus.attention, random.next())
    task.cdbBytes.set(command.cdb)
    task.dataOutLength = command.dataOut
    task.dataInLength = command.dataIn
    task.parameters = command.list
    task.parameterLength = parameterListLength(task)
    if (task.parameterLength > Math.min(command.dataOut, MAX_PARAMETER_BYTES)) throw new Error('too much to gather')
    target.execute(random.once(9) ? random.pick([1, 300, 0xc101]) : 0, task)
    checkData(task, blockSize)
    if (task.program !== null) {
      if (!this.#run(task)) return -1
    } else if (task.action === ACTION.FORWARD) this.#serve(task, unitNexus)
    else if (task.action !== ACTION.DONE) {
      checkOperation(task, this.#bytes)
      complete(task, this.#result(task))
    }
    checkData(task, blockSize)
    checkEnd(task)
    return task.senseCode
  }

  get #bytes(): number {
    return this.#capacity * this.#unit.blockSize
  }

  /** What an operation may end with: most of them well. */
  #result(task: Task): number {
    const random = this.#random
    if (random.once(6)) return -1 - random.below(140)
    switch (task.action) {
      case ACTION.COMPARE:
      case ACTION.COMPARE_AND_WRITE:
        return random.once(2) ? 0 : 1 + (random.next() % task.length)
      case ACTION.FIND_HOLE:
      case ACTION.FIND_DATA:
        return random.once(3) ? task.length : random.next() % (task.length + 1)
      default:
        return random.once(2) ? 0 : task.length
    }
  }

  /** Runs a program; false: it took too long, and was given up. */
  #run(task: Task): boolean {
    const program = task.program!
    if (task.action !== ACTION.PROGRAM) throw new Error('a program without its action')
    let step = program.next(0)
    for (let steps = 0; !step.done; steps++) {
      if (steps === PATIENCE) {
        program.return()
        return false
      }
      checkOperation(task, this.#bytes)
      step = program.next(this.#result(task))
    }
    return true
  }

  /** Has the unit's server execute a forwarded task, as a transport does. */
  #serve(task: Task, nexus: UnitNexus): void {
    if (task.transferLength > task.parameterLength) throw new Error('forwarded without its parameters')
    const served = new Task()
    served.cdbBytes.set(task.cdbBytes)
    served.parameters = task.parameters.slice(0, task.direction === DIRECTION.OUT ? task.transferLength : 0)
    served.parameterLength = served.dataOutLength = served.parameters.length
    served.dataInLength = task.dataInLength
    const effects = this.#server.execute(served, nexus)
    if (effects !== null) this.#perform(effects)
    served.limit()
    task.conclude(served.result)
  }

  #perform(effects: Effects): void {
    const random = this.#random
    let step = effects.next(0)
    for (let steps = 0; !step.done; steps++) {
      const effect = step.value
      if (steps === PATIENCE) {
        step = effects.return()
        continue
      }
      if (
        'offset' in effect &&
        !(effect.length > 0 && effect.offset >= 0 && effect.offset + effect.length <= this.#bytes)
      ) {
        throw new Error(`beyond the medium: ${effect.type} ${effect.offset} ${effect.length}`)
      }
      const whole = effect.type === 'copy' ? effect.length : 0
      const fails = effect.type !== 'fence' && effect.type !== 'detach' && random.once(8)
      step = effects.next(fails ? -1 - random.below(140) : whole)
    }
  }
}
