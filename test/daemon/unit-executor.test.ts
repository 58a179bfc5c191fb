import t from 'tap'
import { type PerformedEffect, UnitExecutor } from '../../daemon/unit-executor.js'
import type { ForwardedTask } from '../../iothreads/index.js'
import { FLAG, SENSE, STATUS, type TaskAnswer } from '../../scsi/index.js'
import { copyList, NAA_UNIT, segment } from '../scsi/support/copy-list.js'
import { fixture } from '../scsi/support/fixture.js'
import { bytes } from '../scsi/support/hex.js'

/** A command as an IOThread forwards it, and its answers. */
interface Forwarded {
  readonly task: ForwardedTask
  readonly answers: TaskAnswer[]
}

function forwarded(cdb: string, parameters: Uint8Array = new Uint8Array(0)): Forwarded {
  const answers: TaskAnswer[] = []
  const padded = new Uint8Array(32)
  padded.set(bytes(cdb))
  const command = {
    ...{ controller: 'vm', target: 0, lun: 0, ticket: 1 },
    cdb: padded,
    parameters: Uint8Array.from(parameters),
    dataInLength: 4096,
  }
  return {
    task: { command, conclude: (answer: TaskAnswer) => answers.push(answer) } as unknown as ForwardedTask,
    answers,
  }
}

const COPY = '83 00*15'
const BLOCK_ERASE = '48 02 00*8'
const COPY_STATUS = '84 00 01 00*7 00 00 00 ff 00 00'

const copy = (segments = 1): Forwarded =>
  forwarded(COPY, copyList({ units: [NAA_UNIT], segments: new Array(segments).fill(segment(1, 0, 8)) }))

interface Performed {
  readonly effect: PerformedEffect
  end(result?: number): void
}

/** An executor whose effects end when the test says so. */
function bench() {
  const { server, state, unitNexus } = fixture()
  const performed: Performed[] = []
  const executor = new UnitExecutor(
    server,
    (effect) =>
      new Promise((resolve) => {
        performed.push({ effect, end: (result = 0) => resolve(result) })
      }),
  )
  const runs: Promise<void>[] = []
  const execute = ({ task }: Forwarded): void => {
    runs.push(executor.execute(task, unitNexus))
  }
  /** Ends the oldest effect under way, and lets what waits for it go on. */
  const next = async (type: PerformedEffect['type'], result?: number): Promise<void> => {
    const { effect, end } = performed.shift()!
    if (effect.type !== type) throw new Error(`${effect.type}, not ${type}`)
    end(result)
    await new Promise(setImmediate)
  }
  return { executor, state, performed, execute, next, all: () => Promise.all(runs) }
}

t.test('commands are executed one after another', async (t) => {
  const { performed, execute, next, all } = bench()
  const [first, second, status] = [forwarded(BLOCK_ERASE), forwarded(BLOCK_ERASE), forwarded(COPY_STATUS)]
  for (const each of [first, second, status]) execute(each)
  t.match(performed, [{ effect: { type: 'fence' } }])
  t.same([...second.answers, ...status.answers], [], 'not before the first one is beside them')
  await next('fence')
  t.match(second.answers, [{ senseCode: SENSE.LOGICAL_UNIT_NOT_READY_SANITIZE_IN_PROGRESS }])
  t.match(status.answers, [{ senseCode: SENSE.INVALID_FIELD_IN_CDB }])
  t.same(first.answers, [])
  await next('zero')
  await next('flush')
  t.match(first.answers, [{ status: STATUS.GOOD }])
  await all()
  t.same(performed, [])
})

t.test('an answer before the end', async (t) => {
  const { state, execute, next, all } = bench()
  const erase = forwarded('48 82 00*8')
  execute(erase)
  await next('fence')
  t.match(erase.answers, [{ status: STATUS.GOOD }])
  t.equal(state.flags & FLAG.SANITIZING, FLAG.SANITIZING)
  await next('zero', -5)
  await all()
  t.equal(erase.answers.length, 1)
  t.equal(state.flags & (FLAG.SANITIZING | FLAG.SANITIZE_FAILED), FLAG.SANITIZE_FAILED)
})

t.test('what nobody wants any more', async (t) => {
  const { executor, state, performed, execute, next, all } = bench()
  const [erase, waiting] = [forwarded(BLOCK_ERASE), forwarded(COPY_STATUS)]
  execute(erase)
  execute(waiting)
  executor.recall(waiting.task)
  t.equal(waiting.answers.length, 1, 'it has not begun')
  executor.recall(erase.task)
  t.same(erase.answers, [], 'it is in its turn')
  await next('fence')
  t.equal(waiting.answers.length, 1)
  t.equal(erase.answers.length, 1, 'nobody waits for what is to be carried through')
  executor.recall(erase.task)
  t.equal(erase.answers.length, 1)
  await next('zero')
  await next('flush')
  await all()
  t.equal(erase.answers.length, 1)
  t.equal(state.flags & FLAG.SANITIZING, 0, 'yet it was carried through')

  const copying = copy(3)
  execute(copying)
  t.match(performed, [{ effect: { type: 'copy' } }])
  executor.recall(copying.task)
  t.same(copying.answers, [], 'what is under way ends first')
  await next('copy', 512)
  t.match(copying.answers, [{ status: STATUS.CHECK_CONDITION }])
  t.same(performed, [], 'and nothing more is copied')
  await all()
})

t.test('copies side by side', async (t) => {
  const { performed, execute, next, all } = bench()
  const copies = [copy(), copy()]
  for (const each of copies) execute(each)
  await new Promise(setImmediate)
  t.match(copies[1]!.answers, [{ senseCode: SENSE.OPERATION_IN_PROGRESS }], 'by one list identifier')
  const other = forwarded(COPY, copyList({ identifier: 2, units: [NAA_UNIT], segments: [segment(1, 0, 8)] }))
  execute(other)
  await new Promise(setImmediate)
  t.equal(performed.length, 2)
  await next('copy', 512)
  await next('copy', -28)
  t.match(copies[0]!.answers, [{ status: STATUS.GOOD }])
  t.match(other.answers, [{ senseCode: SENSE.THIRD_PARTY_DEVICE_FAILURE }])
  await all()
})

t.test('the end of everything', async (t) => {
  const { executor, state, performed, execute, next, all } = bench()
  const [copying, erase] = [copy(2), forwarded(BLOCK_ERASE)]
  execute(copying)
  execute(erase)
  await new Promise(setImmediate)
  const closed = executor.close()
  await next('copy', 512)
  t.match(copying.answers, [{ senseCode: SENSE.IO_PROCESS_TERMINATED }])
  await next('fence')
  await next('zero')
  t.match(erase.answers, [{ senseCode: SENSE.IO_PROCESS_TERMINATED }])
  t.equal(state.flags & (FLAG.SANITIZING | FLAG.SANITIZE_FAILED), FLAG.SANITIZE_FAILED, 'not done is failed')
  await Promise.all([closed, all()])
  t.same(performed, [])
})

t.test('an error of ours', async (t) => {
  const { server, unitNexus } = fixture()
  const executor = new UnitExecutor(server, async () => {
    throw new Error('no IOThread')
  })
  await t.rejects(executor.execute(copy().task, unitNexus), { message: 'no IOThread' })
})
