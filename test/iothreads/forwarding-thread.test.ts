// Commands that an IOThread leaves to the main thread, with the thread between them.
import t from 'tap'
import { RESPONSE } from 'vhost-user-protocol-ts'
import { CANCEL } from '../../iothreads/index.js'
import { SENSE, STATUS, Task } from '../../scsi/index.js'
import { eventually, within } from '../support/deadline.js'
import { read10, senseCode } from '../support/iothreads/cdb.js'
import { DEADLINE, IoRig, type StartedThread, startThread } from '../support/iothreads/io-rig.js'
import { unitSpec } from '../support/iothreads/units.js'

const LIST = Uint8Array.of(0, 0, 0, 0)
const SELECT = { cdb: [0x15, 0x10, 0, 0, LIST.length, 0], dataOut: LIST }
const NULL_UNIT = unitSpec({ kind: 'null', delayNs: 0 })

/** Resolves when so many commands have been forwarded since the start. */
const came = ({ forwarded }: StartedThread, count: number) =>
  eventually(DEADLINE, `${count} forwarded commands`, () => (forwarded.length >= count ? true : undefined))

for (const engine of ['io_uring', 'epoll'] as const) {
  t.test(`an answer wakes a thread that is asleep: ${engine}`, async (t) => {
    const started = await startThread(t, { engine, pollMaxNs: 0 })
    const rig = await IoRig.start(t, { units: [NULL_UNIT], threads: [started] })
    const { forwarded, thread } = started
    const first = rig.submit(0, SELECT)
    await came(started, 1)
    const { command } = forwarded[0]!
    t.match(command, { controller: 'scsi0', target: 0, lun: 0, dataInLength: 0 })
    t.strictSame([...command.parameters], [...LIST])
    t.strictSame([...command.cdb.subarray(0, 6)], SELECT.cdb)
    t.equal(await thread.send({ type: 'fence', controller: 'scsi0', target: 0, lun: 0 }), 0, 'that is not waited for')
    t.equal((await rig.run(0, { cdb: read10(0, 1), dataIn: 512 })).status, STATUS.GOOD, 'others overtake it')
    const failed = new Task()
    failed.fail(SENSE.PARAMETER_LIST_LENGTH_ERROR)
    forwarded[0]!.conclude(failed.result)
    forwarded[0]!.conclude(new Task().result)
    const result = await within(DEADLINE, 'the answer', first)
    t.equal(senseCode(result.sense), SENSE.PARAMETER_LIST_LENGTH_ERROR, 'the first one counts')
    const second = rig.submit(0, SELECT)
    await came(started, 2)
    forwarded[1]!.conclude(new Task().result)
    t.equal((await within(DEADLINE, 'the answer', second)).status, STATUS.GOOD)
  })

  t.test(`a cancel and a stop wait for the answer: ${engine}`, async (t) => {
    const started = await startThread(t, { engine })
    const rig = await IoRig.start(t, { units: [NULL_UNIT], threads: [started] })
    const { forwarded, recalled } = started
    const command = rig.submit(0, SELECT)
    await came(started, 1)
    let answered = false
    void command.then(() => {
      answered = true
    })
    const reason = CANCEL.RESET
    const cancelling = rig.send(0, { type: 'cancel', controller: 'scsi0', target: 0, lun: 0, tag: null, reason })
    await eventually(DEADLINE, 'a recalled command', () => (recalled.length === 1 ? true : undefined))
    t.equal(recalled[0], forwarded[0])
    const stopping = rig.stopQueue(0)
    t.equal(await rig.send(0, { type: 'query', controller: 'scsi0', target: 0, lun: 0, tag: null }), 1)
    t.equal(answered, false)
    forwarded[0]!.conclude(new Task().result)
    t.equal((await within(DEADLINE, 'the answer', command)).response, RESPONSE.RESET)
    t.equal(await cancelling, 1)
    await stopping
  })
}

t.test('an answer to a thread that has ended is nobody’s', async (t) => {
  const started = await startThread(t)
  const rig = await IoRig.start(t, { units: [NULL_UNIT], threads: [started] })
  void rig.submit(0, SELECT)
  await came(started, 1)
  const stopping = rig.stopQueue(0)
  started.forwarded[0]!.conclude(new Task().result)
  await stopping
  await within(DEADLINE, 'the end', started.thread.stop())
  started.forwarded[0]!.conclude(new Task().result)
  t.same(started.failures, [])
})
