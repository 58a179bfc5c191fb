import t, { type Test } from 'tap'
import { EVENT_TYPE, featureMask, RESPONSE, TMF, VIRTIO_SCSI_F } from 'vhost-user-protocol-ts'
import { ControllerBed } from '../support/controller-bed.js'
import { sparseImage } from '../support/image.js'
import { tempDir } from '../support/temp-dir.js'
import type { Initiator } from '../support/vhost/initiator.js'
import { GUEST_FEATURES } from '../support/vhost/negotiate.js'

t.setTimeout(120_000)

const BLOCK = 512
const EJECT = [0x1b, 0, 0, 0, 2, 0]
const LOAD = [0x1b, 0, 0, 0, 3, 0]
const PREVENT = [0x1e, 0, 0, 0, 1, 0]
const TEST_UNIT_READY = [0, 0, 0, 0, 0, 0]
const NO_MEDIUM = [2, 0x3a, 0]
const PREVENTED = [5, 0x53, 2]
const MEDIUM_CHANGED = [6, 0x28, 0]

/** The sense of a command without data: key, ASC, ASCQ; undefined when it is GOOD. */
async function sense(initiator: Initiator, cdb: readonly number[], queue = 0): Promise<number[] | undefined> {
  const answer = await initiator.scsi({ cdb }, { queue })
  if (answer.response !== RESPONSE.OK) throw new Error(`response ${answer.response}`)
  return answer.status === 0 ? undefined : [answer.sense[2]! & 15, answer.sense[12]!, answer.sense[13]!]
}

/** Two controllers that share an image which can be removed, and their guests. */
async function beds(t: Test): Promise<[ControllerBed, ControllerBed]> {
  const path = sparseImage(tempDir(t), 'disk.img', 4)
  const bed = await ControllerBed.start(t, {
    luns: [{ driver: 'file', path, size: 4 * 2 ** 20, removable: true, shareRw: true }],
  })
  return [bed, await bed.beside(t, 'other', [{ id: 'disk0', target: 0, lun: 0, readOnly: false }])]
}

async function connect(t: Test, bed: ControllerBed) {
  const features = GUEST_FEATURES | featureMask(VIRTIO_SCSI_F.CHANGE)
  const connected = await bed.connect(t, { features })
  await connected.initiator.ready(0, 0)
  return connected
}

t.test('a medium goes and comes for everybody', async (t) => {
  const [bed, other] = await beds(t)
  const { initiator } = await connect(t, bed)
  const { initiator: guest } = await connect(t, other)
  guest.postEvents(4)
  const { data } = await initiator.scsi({ cdb: [0x12, 0, 0, 0, 36, 0], dataIn: 36 })
  t.equal(data[1], 0x80, 'RMB')
  const content = new Uint8Array(BLOCK).fill(0x5a)
  await initiator.scsi({ cdb: [0x2a, 0, 0, 0, 0, 3, 0, 0, 1, 0], dataOut: content })
  t.equal(await sense(initiator, EJECT, 1), undefined)
  for (const queue of [0, 1, 2, 3]) {
    t.same(await sense(initiator, TEST_UNIT_READY, queue), NO_MEDIUM)
    t.same(await sense(guest, TEST_UNIT_READY, queue), NO_MEDIUM)
  }
  t.equal(await sense(initiator, LOAD, 2), undefined)
  t.equal(await sense(initiator, TEST_UNIT_READY), undefined, 'who has loaded it knows')
  t.match(await guest.event(), { event: EVENT_TYPE.PARAM_CHANGE, reason: 0x28 })
  t.same(await sense(guest, TEST_UNIT_READY, 3), MEDIUM_CHANGED)
  t.equal(await sense(guest, TEST_UNIT_READY), undefined)
  const read = await guest.scsi({ cdb: [0x28, 0, 0, 0, 0, 3, 0, 0, 1, 0], dataIn: BLOCK })
  t.same(read.data, content, 'what was written is there')
})

t.test('whoever prevents it keeps the medium in, while it is there', async (t) => {
  const [bed, other] = await beds(t)
  const { initiator } = await connect(t, bed)
  const { initiator: guest, session } = await connect(t, other)
  t.equal(await sense(guest, PREVENT, 1), undefined)
  t.same(await sense(initiator, EJECT), PREVENTED)
  t.equal(await initiator.tmf(TMF.LOGICAL_UNIT_RESET, 0, 0), RESPONSE.OK)
  await initiator.ready(0, 0)
  await guest.ready(0, 0)
  t.equal(await sense(initiator, EJECT), undefined, 'a reset ends it')
  t.equal(await sense(guest, PREVENT, 2), undefined)
  t.same(await sense(initiator, LOAD), PREVENTED)
  await guest.close()
  await session.closed
  t.equal(await sense(initiator, LOAD), undefined, 'so does the end of the connection')
  t.equal(await sense(initiator, TEST_UNIT_READY), undefined)
})

t.test('what the unit’s server and the medium are asked, on any queue', async (t) => {
  const [bed] = await beds(t)
  const { initiator } = await connect(t, bed)
  await initiator.scsi({ cdb: [0x2a, 0, 0, 0, 1, 0, 0, 0, 8, 0], dataOut: new Uint8Array(8 * BLOCK).fill(1) })
  const asked = async (cdb: readonly number[], queue: number) => {
    const { status, data, residual } = await initiator.scsi({ cdb, dataIn: 64 }, { queue })
    t.equal(status, 0)
    return [...data.subarray(0, 64 - residual)]
  }
  const extent = (lba: number, blocks: number, status: number) => {
    return [...new Array(6).fill(0), lba >>> 8, lba & 255, 0, 0, blocks >>> 8, blocks & 255, status, 0, 0, 0]
  }
  t.same(await asked([0x9e, 0x12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 64, 0, 0], 1), [
    ...[0, 0, 0, 52, 0, 0, 0, 0],
    ...[...extent(0, 256, 1), ...extent(256, 8, 0), ...extent(264, 8192 - 264, 1)],
  ])
  for (const queue of [0, 1]) t.equal(await sense(initiator, [0x34, 0, 0, 0, 1, 0, 0, 0, 8, 0], queue), undefined)
  const written = await initiator.scsi({
    cdb: [0x3b, 0x0a, 0, 0, 0, 0, 0, 0, 4, 0],
    dataOut: Uint8Array.of(1, 2, 3, 4),
  })
  t.match(written, { status: 0, residual: 0 })
  t.same(await asked([0x3c, 0x0a, 0, 0, 0, 0, 0, 0, 64, 0], 3), [1, 2, 3, 4])
  const groups = await asked([0xa3, 0x0a, 0, 0, 0, 0, 0, 0, 0, 64, 0, 0], 2)
  t.same(groups.slice(0, 12), [0, 0, 0, 16, 0, 1, 0, 1, 0, 0, 0, 2])
  const page = await initiator.scsi({ cdb: [0x12, 1, 0x83, 0, 255, 0], dataIn: 255 })
  const own = Buffer.from(page.data).indexOf(Buffer.from([1, 0x14, 0, 4]))
  const ports = [groups.slice(14, 16), groups.slice(18, 20)].map(String)
  t.ok(own > 0 && ports.includes(String([...page.data.subarray(own + 6, own + 8)])), 'the port of VPD 83 is among them')
})
