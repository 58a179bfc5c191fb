import t from 'tap'
import { ControllerBed } from '../../support/controller-bed.js'
import { within } from '../../support/deadline.js'
import { times } from '../../support/long.js'
import '../../support/packed-rings.js'
import { restingBase } from '../../support/vhost/ring-driver.js'
import { VerifiedLoad } from '../../support/vhost/verified-load.js'

t.setTimeout(300_000)

const PATIENCE = 60_000

for (const style of ['direct', 'indirect'] as const) {
  for (const ringSize of [3, 100, 1023, 1024]) {
    t.test(`verified load in rings of ${ringSize}, ${style}`, async (t) => {
      const bed = await ControllerBed.start(t)
      const { initiator } = await bed.connect(t, { ringSize, style, queues: 4 })
      await initiator.ready(0, 0)
      // Any of the queues may get all reads, of three descriptors each.
      const queues = ringSize < 100 ? [0] : [0, 1, 2, 3]
      const depth = Math.min(8, Math.floor(ringSize / 3 / queues.length))
      const load = new VerifiedLoad(initiator, { queues, depth })
      for (let round = 0; round < times(5); round++) {
        await within(PATIENCE, 'progress', load.progress(500))
        const queue = queues[round % queues.length]!
        await bed.controller.moveQueue(queue, bed.iothreads[(queue + round + 1) % 2]!)
      }
      t.ok((await within(PATIENCE, 'the end of the load', load.stop())) > 100)
      const rings = initiator.queues.map(({ driver }) => driver)
      t.same(await initiator.stop(), rings.map(restingBase), 'they stand where all is answered')
      await initiator.start()
      t.equal((await initiator.scsi({ cdb: [0, 0, 0, 0, 0, 0] })).status, 0, 'and go on there')
      t.same(bed.faults, [])
    })
  }
}
