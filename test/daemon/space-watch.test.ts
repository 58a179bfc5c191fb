import t, { type Test } from 'tap'
import { EVENT_TYPE, featureMask, VIRTIO_SCSI_F } from 'vhost-user-protocol-ts'
import { createLog } from '../../daemon/log.js'
import { type SpaceOf, SpaceWatch } from '../../daemon/space-watch.js'
import { ControllerBed } from '../support/controller-bed.js'
import { eventually } from '../support/deadline.js'
import { sparseImage } from '../support/image.js'
import { tempDir } from '../support/temp-dir.js'
import type { Initiator } from '../support/vhost/initiator.js'
import { GUEST_FEATURES } from '../support/vhost/negotiate.js'

t.setTimeout(120_000)

const MIB = 2 ** 20
const LOG = createLog({ level: 'silent', format: 'json' })

async function setting(t: Test, spaceThreshold: number) {
  const path = sparseImage(tempDir(t), 'disk.img', 4)
  const bed = await ControllerBed.start(t, {
    luns: [{ driver: 'file', path, size: 4 * MIB, spaceThreshold }, {}],
  })
  const features = GUEST_FEATURES | featureMask(VIRTIO_SCSI_F.CHANGE)
  const { initiator } = await bed.connect(t, { features })
  for (const lun of [0, 1]) await initiator.ready(0, lun)
  return { path, bed, initiator }
}

async function sense(initiator: Initiator, lun: number): Promise<number[]> {
  const answer = await initiator.scsi({ cdb: [0, 0, 0, 0, 0, 0], lun })
  return answer.status === 0 ? [] : [answer.sense[2]! & 15, answer.sense[12]!, answer.sense[13]!]
}

t.test('initiators are told when space gets short, once', async (t) => {
  const { path, bed, initiator } = await setting(t, 100 * MIB)
  initiator.postEvents(4)
  let available = 101 * MIB
  const space: SpaceOf = async (asked) => {
    t.equal(asked, path)
    if (available < 0) throw new Error('gone')
    return { available, used: 3 * MIB }
  }
  const watch = new SpaceWatch(bed.luns, LOG, space)
  await watch.look()
  t.same(await sense(initiator, 0), [])
  available = 99 * MIB
  await watch.look()
  t.match(await initiator.event(), { event: EVENT_TYPE.PARAM_CHANGE, reason: 0x0738 })
  t.same(await sense(initiator, 0), [6, 0x38, 7])
  t.same(await sense(initiator, 1), [], 'the other LUN has no threshold')
  available = -1
  await watch.look()
  available = 98 * MIB
  await watch.look()
  t.same(await sense(initiator, 0), [])
  const { data } = await initiator.scsi({ cdb: [0x4d, 0, 0x4c, 0, 0, 0, 0, 0, 28, 0], dataIn: 28 })
  t.equal(Buffer.from(data).readUInt32BE(8), 98)
  t.equal(Buffer.from(data).readUInt32BE(20), 3)
})

t.test('it looks by itself, at the file system that there is', async (t) => {
  const { bed, initiator } = await setting(t, 2 ** 60)
  const watch = new SpaceWatch(bed.luns, LOG)
  t.teardown(() => watch.stop())
  watch.start(10)
  const { state } = bed.luns[0]!
  await eventually(30_000, 'a look', () => state.space.available > 0 || undefined)
  t.same(await sense(initiator, 0), [6, 0x38, 7])
  const before = state.space.used
  await initiator.scsi({ cdb: [0x2a, 8, 0, 0, 0, 0, 0, 8, 0, 0], dataOut: new Uint8Array(MIB).fill(1) })
  await eventually(30_000, 'a look at what is used', () => state.space.used >= before + MIB || undefined)
})
