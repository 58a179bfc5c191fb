/** MODE SELECT through two controllers that share a LUN. */
import t, { type Test } from 'tap'
import { EVENT_TYPE, RESPONSE, TMF } from 'vhost-user-protocol-ts'
import type { LunConfig } from '../../daemon/daemon-config.js'
import { FLAG, SENSE, type UnitState } from '../../scsi/index.js'
import { ControllerBed } from '../support/controller-bed.js'
import { eventually, within } from '../support/deadline.js'
import { sparseImage } from '../support/image.js'
import { read10, senseCode, synchronizeCache10, TEST_UNIT_READY, write10 } from '../support/iothreads/cdb.js'
import { tempDir } from '../support/temp-dir.js'
import type { Initiator } from '../support/vhost/initiator.js'

t.setTimeout(240_000)

const PATIENCE = 30_000
const MIB = 2 ** 20
const BLOCK = new Uint8Array(512).fill(0x5a)
/** Longer than a test: what is held ends only when a function ends it. */
const HELD = { driver: 'null', size: 2 ** 30, delayUs: 60_000_000 } as const

const caching = (wce: boolean): number[] => [0x08, 0x12, wce ? 0x04 : 0, ...new Array(17).fill(0)]
const control = (dSense: boolean, swp: boolean): number[] => [
  ...[0x0a, 0x0a, dSense ? 0x06 : 0x02, 0x10, swp ? 0x08 : 0],
  ...new Array(7).fill(0),
]

function modeSelect(...pages: number[][]) {
  const list = Uint8Array.from([0, 0, 0, 0, ...pages.flat()])
  return { cdb: [0x15, 0x10, 0, 0, list.length, 0], target: 0, lun: 0, dataOut: list }
}

/** Two front ends of controllers that have one LUN, as target 0 LUN 0 each. */
async function twoPaths(t: Test, lun: Partial<LunConfig>) {
  const first = await ControllerBed.start(t, { luns: [{ ...lun, shareRw: true }] })
  const second = await first.beside(t, 'other', [{ id: 'disk0', target: 0, lun: 0, readOnly: false }])
  const [one, other] = [await first.connect(t), await second.connect(t)]
  for (const { initiator } of [one, other]) await initiator.ready(0, 0)
  return { first, second, one: one.initiator, other: other.initiator, state: first.luns[0]!.state }
}

async function ends(initiator: Initiator, command: Parameters<Initiator['scsi']>[0]): Promise<number> {
  const { response, sense } = await initiator.scsi({ target: 0, lun: 0, ...command })
  return response === RESPONSE.OK ? senseCode(sense) : -response
}

const ready = (initiator: Initiator) => ends(initiator, { cdb: TEST_UNIT_READY })
const write = (initiator: Initiator) => ends(initiator, { cdb: write10(0, 1), dataOut: BLOCK })

const protection = ({ words }: UnitState) =>
  eventually(PATIENCE, 'the protection', () => ((words[0]! & FLAG.SOFTWARE_WRITE_PROTECT) !== 0 ? true : undefined))

/** The parameters of a mode page, without header and block descriptor. */
async function page(initiator: Initiator, code: number): Promise<number[]> {
  const answer = await initiator.scsi({ cdb: [0x1a, 8, code, 0, 64, 0], target: 0, lun: 0, dataIn: 64 })
  return [...answer.data.subarray(6, 4 + 2 + answer.data[5]!)]
}

t.test('what one initiator changes, the other is told of, and sees', async (t) => {
  const path = sparseImage(tempDir(t), 'disk', 1)
  const { one, other, first } = await twoPaths(t, { driver: 'file', path, size: MIB })
  other.postEvents(4)
  one.postEvents(4)
  t.equal(await ends(one, modeSelect(caching(false))), 0)
  const event = await other.event()
  t.match(event, { event: EVENT_TYPE.PARAM_CHANGE, reason: 0x012a })
  t.equal(await ready(other), SENSE.MODE_PARAMETERS_CHANGED)
  t.equal(await ready(other), 0)
  t.equal(await ready(one), 0, 'who changes it knows')
  t.equal((await page(other, 0x08))[0], 0)
  t.equal((await page(other, 0x88))[0], 4, 'the default')
  t.equal(await write(other), 0)
  t.equal(await ends(one, modeSelect(caching(false))), 0)
  t.equal(await ready(other), 0, 'nothing was changed')
  t.equal(await ends(other, modeSelect(caching(true))), 0)
  t.equal((await one.event()).reason, 0x012a, 'of the other’s change, and of none of its own')
  t.equal(await ready(one), SENSE.MODE_PARAMETERS_CHANGED)
  t.same(first.failures, [])
})

t.test('software write protection holds for all, from the answer on', async (t) => {
  const { one, other } = await twoPaths(t, { driver: 'memory', size: MIB })
  t.equal(await ends(one, modeSelect(control(false, true))), 0)
  t.equal(await ready(other), SENSE.MODE_PARAMETERS_CHANGED)
  for (const initiator of [one, other]) {
    t.equal(await write(initiator), SENSE.SOFTWARE_WRITE_PROTECTED)
    t.equal(await ends(initiator, { cdb: read10(0, 1), dataIn: 512 }), 0)
    t.equal(await ends(initiator, { cdb: synchronizeCache10() }), 0)
  }
  t.equal(await ends(other, modeSelect(control(false, false))), 0)
  t.equal(await ready(one), SENSE.MODE_PARAMETERS_CHANGED)
  t.equal(await write(one), 0)
})

t.test('the answer waits for writes that were admitted before; what is behind it can be aborted', async (t) => {
  const { one, other, state } = await twoPaths(t, HELD)
  const held = other.submit({ cdb: write10(0, 1), target: 0, lun: 0, dataOut: BLOCK })
  await eventually(PATIENCE, 'a write under way', async () =>
    (await other.tmf(TMF.QUERY_TASK, 0, 0, held.tag)) === RESPONSE.FUNCTION_SUCCEEDED ? true : undefined,
  )
  const order: string[] = []
  const note = (name: string) => () => void order.push(name)
  const protects = one.submit(modeSelect(control(false, true)))
  void protects.done.then(note('MODE SELECT'))
  void held.done.then(note('write'))
  await protection(state)
  t.equal(await write(one), SENSE.SOFTWARE_WRITE_PROTECTED, 'what comes now is under the new state')
  const behind = [one.submit(modeSelect(caching(false))), one.submit(modeSelect(caching(false)), { queue: 1 })]
  for (const { tag, done } of behind) {
    await eventually(PATIENCE, 'a command that waits', async () =>
      (await one.tmf(TMF.QUERY_TASK, 0, 0, tag)) === RESPONSE.FUNCTION_SUCCEEDED ? true : undefined,
    )
    t.equal(await one.tmf(TMF.ABORT_TASK, 0, 0, tag), RESPONSE.OK)
    t.equal((await within(PATIENCE, 'its answer', done)).response, RESPONSE.ABORTED)
  }
  t.same(order, [])
  t.equal(await other.tmf(TMF.ABORT_TASK_SET, 0, 0), RESPONSE.OK)
  t.equal((await within(PATIENCE, 'the answer', protects.done)).status, 0)
  t.same(order, ['write', 'MODE SELECT'])
  t.equal((await page(one, 0x08))[0], 4, 'what was aborted had no effect')
})

t.test('a queue stops when what it has forwarded is answered', async (t) => {
  const { one, other, first, state } = await twoPaths(t, HELD)
  const held = other.submit({ cdb: write10(0, 1), target: 0, lun: 0, dataOut: BLOCK })
  await eventually(PATIENCE, 'a write under way', async () =>
    (await other.tmf(TMF.QUERY_TASK, 0, 0, held.tag)) === RESPONSE.FUNCTION_SUCCEEDED ? true : undefined,
  )
  const protects = one.submit(modeSelect(control(false, true)))
  await protection(state)
  const stopping = one.stop([2])
  const moving = first.controller.moveQueue(1, first.iothreads[0]!)
  await within(PATIENCE, 'the move of another queue', moving)
  t.equal(await other.tmf(TMF.LOGICAL_UNIT_RESET, 0, 0), RESPONSE.OK, 'ends all that is under way, on both paths')
  t.equal((await within(PATIENCE, 'the answer', protects.done)).response, RESPONSE.RESET)
  t.equal((await within(PATIENCE, 'the held write', held.done)).response, RESPONSE.RESET)
  await within(PATIENCE, 'the stop', stopping)
  await one.start([2])
  t.equal(await ready(other), SENSE.BUS_DEVICE_RESET_FUNCTION_OCCURRED)
  t.equal(await ready(other), SENSE.MODE_PARAMETERS_CHANGED)
  t.equal((await page(other, 0x0a))[2], 0, 'the default is back')
  t.same(first.failures, [])
})

t.test('defaults come back with a reset of the unit, and when its only initiator begins anew', async (t) => {
  const { one, other, state } = await twoPaths(t, { driver: 'memory', size: MIB, writeCache: false })
  const before = state.flags
  t.equal(await ends(one, modeSelect(caching(true), control(true, true))), 0)
  t.not(state.flags, before)
  await other.stop()
  await other.frontEnd.resetDevice()
  t.not(state.flags, before, 'one of two that begins anew changes nothing')
  t.equal(await one.tmf(TMF.LOGICAL_UNIT_RESET, 0, 0), RESPONSE.OK)
  t.equal(state.flags, before)
  const alone = await ControllerBed.start(t, { luns: [{ driver: 'memory', size: MIB }] })
  const { initiator } = await alone.connect(t)
  await initiator.ready(0, 0)
  t.equal(await ends(initiator, modeSelect(caching(false), control(true, true))), 0)
  t.equal(await ends(initiator, { cdb: [0xff, 0, 0, 0, 0, 0] }), SENSE.INVALID_COMMAND_OPERATION_CODE)
  t.equal((await initiator.scsi({ cdb: [0xff, 0, 0, 0, 0, 0], target: 0, lun: 0 })).sense[0], 0x72)
  await initiator.stop()
  await initiator.frontEnd.resetDevice()
  await initiator.start()
  await initiator.ready(0, 0)
  t.equal((await page(initiator, 0x08))[0], 4)
  t.equal(await write(initiator), 0)
})
