import t from 'tap'
import { DIRECTION, DISK_COMMANDS, FULL_DISK_COMMANDS, parameterListLength, Task } from '../../scsi/index.js'
import { times } from '../support/long.js'
import { Random } from '../support/random.js'
import { BLOCKS, fixture } from './support/fixture.js'
import { checkOperation, HostileTarget } from './support/hostile-target.js'
import { mostDataIn } from './support/naive-length.js'
import { RandomCommand } from './support/random-command.js'

/** Commands after which a unit forgets its reservations: until then they keep many others away. */
const RENEWAL = 300

/** Every kind of unit, and how many blocks it has. */
const UNITS = [
  [{}, BLOCKS],
  [{ atomicWrites: true }, 2 ** 33],
  [{ blockSize: 4096, discard: false, removable: true }, BLOCKS],
  [{ readOnly: true, serial: '', wwn: '' }, BLOCKS],
  [{ blockSize: 4096, physicalBlockSize: 4096, removable: true }, 0],
] as const

t.test('no CDB, buffer, parameter or result leads astray', { timeout: 0 }, async (t) => {
  const seed = Number(process.env.VUS_SEED ?? 1) || 1
  const random = new Random(seed)
  const command = new RandomCommand(random, [...DISK_COMMANDS.commands, ...FULL_DISK_COMMANDS.commands])
  const targets = UNITS.map(([changes, capacity]) => new HostileTarget(random, changes, capacity))
  const statuses = new Map<number, number>()
  const runs = times(200_000)
  const good = new Set<string>()
  let abandoned = 0
  for (let i = 0; i < runs; i++) {
    const target = targets[i % targets.length]!
    if (i % RENEWAL < targets.length) target.renew()
    command.next()
    try {
      const sense = target.execute(command)
      statuses.set(sense, (statuses.get(sense) ?? 0) + 1)
      if (sense === 0) good.add(DISK_COMMANDS.find(command.cdb).name)
      if (sense === -1) abandoned++
    } catch (error) {
      const cdb = Buffer.from(command.cdb).toString('hex')
      throw new Error(`seed ${seed}, command ${i}, CDB ${cdb}, buffers ${command.dataOut} ${command.dataIn}`, {
        cause: error,
      })
    }
  }
  // Only if much of it got somewhere does this say anything.
  t.ok(statuses.get(0)! > runs / 8, `${statuses.get(0)} were GOOD`)
  t.ok(statuses.size > 30, `${statuses.size} kinds of end`)
  t.ok(abandoned < runs / 10, `${abandoned} were given up`)
  t.same(
    DISK_COMMANDS.commands.map(({ name }) => name).filter((name) => !good.has(name)),
    [],
    'every command was GOOD now and then',
  )
})

t.test('how much every command with data-in may move is written down here too', async (t) => {
  const cdb = new DataView(new ArrayBuffer(32))
  for (const { name, direction } of DISK_COMMANDS.commands) {
    t.equal(mostDataIn(name, cdb, 512) !== undefined, direction === DIRECTION.IN, name)
  }
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
