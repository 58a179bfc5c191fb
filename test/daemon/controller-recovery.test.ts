// A controller whose front end has an inflight buffer, and what a predecessor had in flight in it.
import { close, createMemfd, viewMemory } from 'memfd-mmap'
import t, { type Test } from 'tap'
import {
  featureMask,
  InflightRegion,
  RESPONSE,
  SPLIT_REGION,
  SplitInflight,
  TMF,
  VHOST_USER_PROTOCOL_F,
  VQ,
} from 'vhost-user-protocol-ts'
import { ControllerBed } from '../support/controller-bed.js'
import { within } from '../support/deadline.js'
import { write10 } from '../support/iothreads/cdb.js'
import { times } from '../support/long.js'
import { sharedMappings } from '../support/proc.js'
import type { Initiator } from '../support/vhost/initiator.js'
import { GUEST_FEATURES, QEMU_PROTOCOL_FEATURES } from '../support/vhost/negotiate.js'
import { VerifiedLoad } from '../support/vhost/verified-load.js'

t.setTimeout(240_000)

const PATIENCE = 30_000
const MIB = 2 ** 20
const OPTIONS = {
  features: GUEST_FEATURES,
  protocolFeatures: QEMU_PROTOCOL_FEATURES | featureMask(VHOST_USER_PROTOCOL_F.INFLIGHT_SHMFD),
  deadline: PATIENCE,
}
/** A disk whose commands end only when they are cancelled, as far as a test lives. */
const SLOW = { driver: 'null', size: MIB, delayUs: 3_600_000_000 } as const
const WRITE = { cdb: write10(0, 1), dataOut: new Uint8Array(512) }

/** The inflight buffer as a predecessor sees it. */
function regionOf(t: Test, initiator: Initiator): InflightRegion {
  const { fd, size, offset, queues, queueSize } = initiator.inflight!
  const region = new InflightRegion(fd, { mmapSize: size, mmapOffset: offset, numQueues: queues, queueSize }, queues)
  t.teardown(() => region.unmap())
  return region
}

function partOf(region: InflightRegion, index: number): ArrayBuffer {
  const { address, length } = region.queue('split', index, 1)!
  return viewMemory(address, length)
}

/** Has somebody fetch `head` from a ring that stands still, and be killed. */
function fetchAndDie(initiator: Initiator, region: InflightRegion, index: number, head: number): void {
  const inflight = new SplitInflight(partOf(region, index), region.queueSize)
  const used = initiator.queues[index]!.driver as { deviceUsedIndex?: number }
  t.equal(inflight.start(used.deviceUsedIndex!), 0)
  inflight.fetch(head)
}

t.test('a function waits for the rings of the commands that it may be for', async (t) => {
  const bed = await ControllerBed.start(t, { luns: [{}, SLOW] })
  const { initiator } = await bed.connect(t, OPTIONS)
  await initiator.ready(0, 1)
  await initiator.stop()
  const region = regionOf(t, initiator)
  const command = initiator.submit({ ...WRITE, lun: 1, tag: 77 }, { queue: 2 })
  fetchAndDie(initiator, region, VQ.REQUEST + 2, command.head)
  const fresh = initiator.submit({ ...WRITE, lun: 1, tag: 78 }, { queue: 3 })
  const functions = [77, 78].map((tag) => initiator.tmf(TMF.ABORT_TASK, 0, 1, tag))

  await initiator.start([VQ.CONTROL, VQ.EVENT, VQ.REQUEST, VQ.REQUEST + 1, VQ.REQUEST + 2])
  const query = { type: 'query', controller: 'vm', target: 0, lun: 1, tag: null } as const
  await Promise.all(bed.iothreads.map((iothread) => iothread.send(query)))
  initiator.control.collect()
  t.equal(initiator.control.driver.outstanding, 2, 'one ring is not there yet')
  await initiator.start([VQ.REQUEST + 3])
  t.same(await Promise.all(functions), [RESPONSE.OK, RESPONSE.OK])
  for (const { done, queue } of [command, fresh]) {
    queue.collect()
    t.equal((await within(PATIENCE, 'its answer', done)).response, RESPONSE.ABORTED)
  }
  t.equal(await initiator.tmf(TMF.QUERY_TASK_SET, 0, 1), RESPONSE.OK)
})

t.test('RESET_DEVICE forgets what was in flight', async (t) => {
  const bed = await ControllerBed.start(t, { luns: [{}, SLOW] })
  const { initiator } = await bed.connect(t, OPTIONS)
  await initiator.stop()
  const region = regionOf(t, initiator)
  const { head } = initiator.submit({ ...WRITE, lun: 1 }, { queue: 0, unpublished: true })
  fetchAndDie(initiator, region, VQ.REQUEST, head)
  await initiator.frontEnd.resetDevice()
  const version = () => new DataView(partOf(region, VQ.REQUEST)).getUint16(SPLIT_REGION.VERSION, true)
  t.equal(version(), 0)
  for (const queue of initiator.queues) queue.driver.reset()
  for (const queue of initiator.queues) queue.driver.enableInterrupts()
  await initiator.stop()
  await initiator.start()
  t.equal(version(), 1)
  t.equal(await initiator.tmf(TMF.QUERY_TASK_SET, 0, 1), RESPONSE.OK, 'there is nothing')
  await initiator.ready(0, 0)
})

t.test('a part that makes no sense: the ring cannot be started', async (t) => {
  const bed = await ControllerBed.start(t)
  for (const index of [VQ.CONTROL, VQ.REQUEST]) {
    const { initiator } = await bed.connect(t, OPTIONS)
    await initiator.ready(0, 0)
    await initiator.stop()
    new DataView(partOf(regionOf(t, initiator), index)).setUint16(SPLIT_REGION.VERSION, 2, true)
    await t.rejects(initiator.start([index]), { name: 'NackError' })
    await initiator.start([VQ.REQUEST + 1])
    await initiator.ready(0, 0, { queue: 1 })
    await initiator.close()
  }
})

t.test('a part that makes no sense any more when the dirty log comes: no mapping is left over', async (t) => {
  const bed = await ControllerBed.start(t)
  const protocolFeatures = OPTIONS.protocolFeatures | featureMask(VHOST_USER_PROTOCOL_F.LOG_SHMFD)
  const { initiator, session } = await bed.connect(t, { ...OPTIONS, protocolFeatures })
  const log = { fd: createMemfd('spoilt-log', 8192), size: 8192, offset: 0 }
  t.teardown(() => close(log.fd))
  const mappings = (): number => sharedMappings(process.pid).filter((line) => line.includes('spoilt-log')).length
  await initiator.ready(0, 0)
  await initiator.frontEnd.setLogBase(log)
  t.equal(mappings(), 1)
  new DataView(partOf(regionOf(t, initiator), VQ.REQUEST)).setUint16(SPLIT_REGION.VERSION, 2, true)
  await t.rejects(initiator.frontEnd.setLogBase(log), { name: 'NackError' })
  t.equal(mappings(), 1, 'the new one')
  await initiator.ready(0, 0, { queue: 1 })
  t.equal(await initiator.tmf(TMF.LOGICAL_UNIT_RESET, 0, 0), RESPONSE.OK, 'the other rings go on')
  await initiator.close()
  await session.closed
  t.equal(mappings(), 0)
})

t.test('a buffer that cannot be', async (t) => {
  const bed = await ControllerBed.start(t)
  const { initiator } = await bed.connect(t, OPTIONS)
  const { frontEnd } = initiator
  const buffer = initiator.inflight!
  const small = createMemfd('small', 4096, 0)
  t.teardown(() => close(small))
  for (const wrong of [{ queues: 7 }, { queueSize: 2 ** 15 }, { fd: small }, { size: 64 }, { offset: 4 }]) {
    await t.rejects(frontEnd.setInflightFd({ ...buffer, ...wrong }), { name: 'NackError' }, JSON.stringify(wrong))
  }
  await initiator.ready(0, 0)
})

t.test('rings that pause, move and stop under load agree with their buffer', async (t) => {
  const bed = await ControllerBed.start(t, { luns: [{}] })
  const { initiator, session } = await bed.connect(t, { ...OPTIONS, ringSize: 256 })
  const mappings = (): number => sharedMappings(process.pid).filter((line) => line.includes('vhost-inflight')).length
  t.equal(mappings(), 1)
  const load = new VerifiedLoad(initiator, { queues: [0, 1, 2, 3], depth: 8, attentions: true })
  const region = regionOf(t, initiator)
  const extra = initiator.memory.regions[0]!
  for (let round = 0; round < times(12); round++) {
    await within(PATIENCE, 'progress', load.progress(100))
    await bed.controller.moveQueue(round % 4, bed.iothreads[(round >> 2) % 2]!)
    const added = { ...extra, guestAddress: 2 ** 40, userAddress: 2 ** 46, size: MIB, mmapOffset: 0 }
    await initiator.frontEnd.addMemReg(added, extra.fd)
    await initiator.frontEnd.remMemReg(added)
    if (round % 3 === 0) {
      await initiator.stop()
      for (const { index, driver } of initiator.queues) {
        const part = new DataView(partOf(region, index))
        const used = (driver as { deviceUsedIndex?: number }).deviceUsedIndex
        t.equal(part.getUint16(SPLIT_REGION.USED_IDX, true), used, `ring ${index}`)
      }
      await initiator.start()
    }
  }
  t.ok((await within(PATIENCE, 'end of the load', load.stop())) > 0)
  await initiator.close()
  await session.closed
  t.equal(mappings(), 1, 'only that of the test')
})
