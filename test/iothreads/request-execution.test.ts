// Commands that the main thread executes, and such as may not be executed twice. The rest of the execution: request-queue.test.ts.
import t, { type Test } from 'tap'
import { CMD_RESPONSE, RESPONSE } from 'vhost-user-protocol-ts'
import { MAX_FORWARDED } from '../../iothreads/forwarding.js'
import { CANCEL, type CancelWaiter } from '../../iothreads/request.js'
import { FLAG, SENSE, STATUS, Task, type TaskAnswer, UnitState } from '../../scsi/index.js'
import { read10, senseCode, TEST_UNIT_READY } from '../support/iothreads/cdb.js'
import { FakeDriver } from '../support/iothreads/fake-driver.js'
import { QueueRig, type QueueRigOptions } from '../support/iothreads/queue-rig.js'
import { unitSpec } from '../support/iothreads/units.js'

const SIZE = 2 ** 20
/** A page that MODE SELECT takes: nothing changes. */
const LIST = Uint8Array.of(0, 0, 0, 0, 0x08, 0x12, 0x04, ...new Array(17).fill(0))
const modeSelect = (length = LIST.length): number[] => [0x15, 0x10, 0, 0, length, 0]
/** EXTENDED COPY(LID1), which is not repeatable, with a parameter list of 16 bytes. */
const EXTENDED_COPY = [0x83, ...new Array(12).fill(0), 16, 0, 0]
const RECEIVE_COPY_STATUS = [0x84, ...new Array(12).fill(0), 0xff, 0, 0]
const GOOD = new Task().result

function rigWith(t: Test, o: Partial<QueueRigOptions> = {}) {
  const driver = new FakeDriver(SIZE)
  const spec = unitSpec({ kind: 'null', delayNs: 0 }, { size: SIZE })
  const rig = new QueueRig(t, { units: [{ ...spec, driver }], ...o })
  /** The main thread's answer to the oldest command that has none. */
  const conclude = (answer: Partial<TaskAnswer> = {}): void => {
    const { ticket, parameters } = rig.forwarded.shift()!
    rig.forwarding.conclude(ticket, { ...GOOD, transferLength: parameters.length, ...answer })
    rig.queue.publish()
  }
  return { rig, driver, conclude, state: new UnitState(spec.state) }
}

t.test('a forwarded command waits for its answer, others do not wait for it', async (t) => {
  const { rig, conclude } = rigWith(t)
  const head = rig.submit({ cdb: modeSelect(), dataOut: Uint8Array.of(...LIST, 9, 9) })
  const other = rig.submit({ cdb: read10(0, 1), dataIn: 512 })
  rig.turn()
  t.same(
    rig.answers().map((each) => each.head),
    [other],
  )
  t.equal(rig.queue.busy, 1)
  t.strictSame([...rig.forwarded[0]!.parameters], [...LIST], 'as long as the CDB says')
  conclude()
  const [answer] = rig.answers()
  t.equal(answer!.head, head)
  t.match(answer!.result, { response: RESPONSE.OK, status: STATUS.GOOD, residual: 2, usedLength: CMD_RESPONSE.SIZE })
  t.equal(rig.queue.busy, 0)
})

t.test('sense data comes with the answer', async (t) => {
  const { rig, conclude } = rigWith(t)
  const failed = new Task()
  failed.fail(SENSE.INVALID_FIELD_IN_PARAMETER_LIST)
  rig.submit({ cdb: modeSelect(), dataOut: LIST })
  rig.turn()
  conclude(failed.result)
  const result = rig.answers()[0]!.result!
  t.match(result, { status: STATUS.CHECK_CONDITION, residual: LIST.length })
  t.equal(senseCode(result.sense), SENSE.INVALID_FIELD_IN_PARAMETER_LIST)
  t.strictSame([...result.sense], [...failed.sense.subarray(0, failed.senseLength)])
})

t.test('data-in comes with the answer, into buffers in pieces', async (t) => {
  const { rig, conclude } = rigWith(t)
  rig.submit({ cdb: RECEIVE_COPY_STATUS, dataIn: 100 }, { in: [108, 7, 40, 53], gaps: [3] })
  rig.turn()
  t.match(rig.forwarded[0], { dataInLength: 100 })
  t.equal(rig.forwarded[0]!.parameters.length, 0)
  const dataIn = Uint8Array.from({ length: 60 }, (_, i) => i + 1)
  conclude({ dataIn, transferLength: 60 })
  const [answer] = rig.answers()
  t.match(answer!.result, { status: STATUS.GOOD, residual: 40, usedLength: CMD_RESPONSE.SIZE + 60 })
  t.strictSame([...answer!.result!.data.subarray(0, 60)], [...dataIn])
  t.equal(answer!.stray, 0)
  const large = rig.submit({ cdb: RECEIVE_COPY_STATUS, dataIn: 20 })
  rig.turn()
  conclude({ dataIn: dataIn.slice(0, 20), transferLength: 60, overrun: true })
  t.match(rig.answers(), [{ head: large, result: { response: RESPONSE.OVERRUN, residual: 20 } }])
})

t.test('a short buffer is an overrun before anything is forwarded', async (t) => {
  const { rig } = rigWith(t)
  const result = rig.run({ cdb: modeSelect(200), dataOut: LIST })
  t.equal(result.response, RESPONSE.OVERRUN)
  t.same(rig.forwarded, [])
})

t.test('a guest that has too many on their way hears TASK SET FULL', async (t) => {
  const { rig, conclude } = rigWith(t, { size: 256, indirectEntries: 4 })
  for (let i = 0; i < MAX_FORWARDED; i++) rig.submit({ cdb: modeSelect(), dataOut: LIST })
  rig.turn()
  t.equal(rig.forwarded.length, MAX_FORWARDED)
  t.equal(rig.run({ cdb: modeSelect(), dataOut: LIST }).status, STATUS.TASK_SET_FULL)
  t.equal(rig.run({ cdb: TEST_UNIT_READY }).status, STATUS.GOOD)
  conclude()
  t.equal(rig.answers().length, 1)
  rig.submit({ cdb: modeSelect(), dataOut: LIST })
  rig.turn()
  t.equal(rig.forwarded.length, MAX_FORWARDED)
  while (rig.forwarded.length > 0) conclude()
  t.equal(rig.answers().length, MAX_FORWARDED)
})

t.test('a cancelled one is recalled, and ends when its answer comes, whatever that is', async (t) => {
  for (const [cancel, response] of [
    [CANCEL.ABORTED, RESPONSE.ABORTED],
    [CANCEL.RESET, RESPONSE.RESET],
  ] as const) {
    const { rig, conclude } = rigWith(t)
    rig.submit({ cdb: modeSelect(), dataOut: LIST, tag: 7 })
    rig.turn()
    const [request] = rig.queue.matching({ target: 0, lun: 0, tag: [7, 0] })
    const waiter: CancelWaiter = { count: 1, remaining: 1 }
    request!.cancel = cancel
    request!.waiters = [waiter]
    rig.queue.execution.recall(request!)
    t.match(rig.recalled, [{ controller: 'rig', target: 0, lun: 0, ticket: rig.forwarded[0]!.ticket }])
    t.same(rig.answers(), [])
    t.equal(waiter.remaining, 1)
    conclude()
    t.equal(rig.answers()[0]!.result!.response, response)
    t.equal(waiter.remaining, 0)
    rig.queue.execution.recall(request!)
    t.equal(rig.recalled.length, 1, 'what is not forwarded is not recalled')
  }
})

for (const packed of [false, true]) {
  t.test(`after a crash only what may be executed twice is, ${packed ? 'packed' : 'split'}`, async (t) => {
    const { rig, conclude, state } = rigWith(t, { packed, inflight: true })
    const selects = rig.submit({ cdb: modeSelect(), dataOut: LIST })
    const copies = rig.submit({ cdb: EXTENDED_COPY, dataOut: new Uint8Array(16) })
    rig.turn()
    t.equal(rig.forwarded.length, 2, 'both wait for their answers')
    rig.forwarded.length = 0
    rig.restart()
    rig.turn()
    t.equal(rig.forwarded.length, 1, 'MODE SELECT has the same effect again')
    t.equal(rig.forwarded[0]!.cdb[0], 0x15)
    const [aborted, ...more] = rig.answers()
    t.equal(aborted!.head, copies)
    t.same(more, [])
    t.match(aborted!.result, { response: RESPONSE.OK, status: STATUS.CHECK_CONDITION, residual: 16 })
    t.equal(senseCode(aborted!.result!.sense), SENSE.COMMANDS_CLEARED_BY_DEVICE_SERVER)
    conclude()
    t.equal(rig.answers()[0]!.head, selects)
    // What comes now is new.
    state.set(FLAG.DESCRIPTOR_SENSE)
    rig.submit({ cdb: EXTENDED_COPY, dataOut: new Uint8Array(16) })
    rig.turn()
    t.equal(rig.forwarded.length, 1)
    rig.restart()
    rig.turn()
    const [again] = rig.answers()
    t.equal(again!.result!.sense[0], 0x72, 'in the format that the unit has')
    t.equal(rig.queue.busy, 0)
  })
}
