import { close, createMemfd } from 'memfd-mmap'
import t, { type Test } from 'tap'
import {
  CONFIG,
  featureMask,
  RESPONSE,
  TMF,
  VHOST_F,
  VHOST_USER_F,
  VHOST_USER_PROTOCOL_F,
  VIRTIO_F,
  VIRTIO_SCSI_F,
  VQ,
} from 'vhost-user-protocol-ts'
import { ControllerBed } from '../support/controller-bed.js'
import { eventually, within } from '../support/deadline.js'
import { writeAndRead } from '../support/hostile/bed.js'
import { times } from '../support/long.js'
import { openFiles, sharedMappings } from '../support/proc.js'
import type { Initiator } from '../support/vhost/initiator.js'
import { QEMU_PROTOCOL_FEATURES } from '../support/vhost/negotiate.js'
import { breakRing, isSettled } from '../support/vhost/ring-driver.js'

t.setTimeout(240_000)

const PATIENCE = 30_000
const MIB = 2 ** 20
const DATA_REGION = { guestAddress: 2 ** 32, size: 8 * MIB, mmapOffset: 4096 }
const MEMORY = [{ guestAddress: 0, size: 16 * MIB }, DATA_REGION]
const TEST_UNIT_READY = [0, 0, 0, 0, 0, 0]

t.test('what is offered', async (t) => {
  const bed = await ControllerBed.start(t)
  const frontEnd = bed.frontEnd(t)
  const { ANY_LAYOUT, INDIRECT_DESC, EVENT_IDX, VERSION_1, RING_PACKED } = VIRTIO_F
  const virtio = [ANY_LAYOUT, INDIRECT_DESC, EVENT_IDX, VERSION_1, RING_PACKED]
  const expected = featureMask(
    ...virtio,
    VIRTIO_SCSI_F.HOTPLUG,
    VIRTIO_SCSI_F.CHANGE,
    VHOST_USER_F.PROTOCOL_FEATURES,
    VHOST_F.LOG_ALL,
  )
  t.equal(await frontEnd.getFeatures(), expected)
  const { MQ, LOG_SHMFD, REPLY_ACK, BACKEND_REQ, INFLIGHT_SHMFD, RESET_DEVICE, CONFIGURE_MEM_SLOTS } =
    VHOST_USER_PROTOCOL_F
  const protocol = await frontEnd.getProtocolFeatures()
  t.equal(
    protocol,
    featureMask(MQ, LOG_SHMFD, REPLY_ACK, BACKEND_REQ, INFLIGHT_SHMFD, RESET_DEVICE, CONFIGURE_MEM_SLOTS),
  )
  await frontEnd.setProtocolFeatures(protocol)
  t.equal(await frontEnd.getQueueNum(), 4, 'request queues')
  t.equal(await frontEnd.getMaxMemSlots(), 509)
  t.same((await frontEnd.getConfig(0, CONFIG.SIZE)) === undefined, false, 'config space is answered, offered or not')
})

t.test('config space', async (t) => {
  const bed = await ControllerBed.start(t, { config: { configSpace: true } })
  const frontEnd = bed.frontEnd(t)
  const protocol = await frontEnd.getProtocolFeatures()
  t.ok(protocol & featureMask(VHOST_USER_PROTOCOL_F.CONFIG), 'is offered')
  await frontEnd.setProtocolFeatures(protocol)
  const bytes = await frontEnd.getConfig(0, CONFIG.SIZE)
  t.equal(new DataView(bytes!.buffer, bytes!.byteOffset).getUint32(CONFIG.NUM_QUEUES, true), 4)
  t.same(await frontEnd.getConfig(CONFIG.CDB_SIZE, 4), Uint8Array.of(32, 0, 0, 0))
  t.equal(await frontEnd.getConfig(0, CONFIG.SIZE + 1), undefined)
  await frontEnd.setConfig(CONFIG.CDB_SIZE, Uint8Array.of(32, 0, 0, 0))
  await t.rejects(frontEnd.setConfig(CONFIG.CDB_SIZE, Uint8Array.of(16, 0, 0, 0)), { code: 'VUS_NACK' })
})

/** Writes and reads back on all queues until `stop` is called; how many rounds there were. Rejects when data differs. */
function load(initiator: Initiator, stopped: () => boolean): Promise<number> {
  const queue = async (number: number): Promise<number> => {
    let rounds = 0
    for (; !stopped() || rounds === 0; rounds++) await writeAndRead(initiator, number, rounds + number)
    return rounds
  }
  return Promise.all([0, 1, 2, 3].map(queue)).then((rounds) => Math.min(...rounds))
}

t.test('regions come and go while rings run', async (t) => {
  const bed = await ControllerBed.start(t)
  const { initiator } = await bed.connect(t, { memory: MEMORY })
  await initiator.ready(0, 0)
  let stop = false
  const loaded = load(initiator, () => stop)
  const [, second] = initiator.memory.regions
  for (let i = 0; i < times(40); i++) {
    await initiator.frontEnd.remMemReg(second!)
    await initiator.frontEnd.addMemReg(second!, second!.fd)
  }
  stop = true
  const rounds = await within(PATIENCE, 'the load', loaded)
  t.ok(rounds > 0, `${rounds} rounds on each queue, all data right`)
  t.same([bed.faults, bed.failures], [[], []])
})

t.test('the whole table is replaced while rings run', async (t) => {
  const bed = await ControllerBed.start(t)
  const slots = featureMask(VHOST_USER_PROTOCOL_F.CONFIGURE_MEM_SLOTS)
  const { initiator } = await bed.connect(t, { memory: MEMORY, protocolFeatures: QEMU_PROTOCOL_FEATURES & ~slots })
  await initiator.ready(0, 0)
  let stop = false
  const loaded = load(initiator, () => stop)
  const { regions } = initiator.memory
  // A thousand in a long run.
  const swaps = process.env.VUS_LONG === undefined ? 20 : times(50)
  for (let i = 0; i < swaps; i++) {
    const part = i % 2 === 0 ? regions : regions.slice(0, 1)
    await initiator.frontEnd.setMemTable(
      part,
      part.map(({ fd }) => fd),
    )
  }
  stop = true
  const rounds = await within(PATIENCE, 'the load', loaded)
  t.ok(rounds > 0, `${swaps} swaps, ${rounds} rounds on each queue, all data right`)
})

t.test('data in a region that is taken away is no data, and is data again when that is back', async (t) => {
  const bed = await ControllerBed.start(t)
  const { initiator } = await bed.connect(t, { memory: MEMORY, dataRegion: 1 })
  await writeAndRead(initiator, 0, 1)
  const [, second] = initiator.memory.regions
  await initiator.frontEnd.remMemReg(second!)
  t.match(await initiator.scsi({ cdb: TEST_UNIT_READY }), { usedLength: 0, response: 0xee }, 'not even a response')
  await initiator.frontEnd.addMemReg(second!, second!.fd)
  await writeAndRead(initiator, 0, 2)
})

t.test('a table that cannot be leaves everything as it was', async (t) => {
  const bed = await ControllerBed.start(t)
  const { initiator } = await bed.connect(t, { memory: MEMORY })
  const mappings = sharedMappings(process.pid).length
  const small = createMemfd('small', 4096)
  t.teardown(() => close(small))
  const region = { guestAddress: 2 ** 40, size: 8192, userAddress: 2 ** 40, mmapOffset: 0 }
  await t.rejects(initiator.frontEnd.addMemReg(region, small), { code: 'VUS_NACK' }, 'a file too small')
  await t.rejects(
    initiator.frontEnd.setMemTable([{ ...region, size: 4096 }], [small]),
    { code: 'VUS_NACK' },
    'no rings',
  )
  await t.rejects(
    initiator.frontEnd.setMemTable([initiator.memory.regions[0]!, region], [initiator.memory.regions[0]!.fd, small]),
    { code: 'VUS_NACK' },
    'the second of two',
  )
  await t.rejects(initiator.frontEnd.remMemReg(initiator.memory.regions[0]!), { code: 'VUS_NACK' }, 'rings are there')
  t.equal(sharedMappings(process.pid).length, mappings, 'nothing stays mapped')
  for (const queue of [0, 1, 2, 3]) await writeAndRead(initiator, queue, queue)
  t.equal(await initiator.tmf(TMF.QUERY_TASK_SET, 0, 0), RESPONSE.OK)
})

t.test('a ring goes on exactly where it was stopped', async (t) => {
  const bed = await ControllerBed.start(t, { luns: [{}, { driver: 'null', size: MIB, delayUs: 2000 }] })
  const { initiator } = await bed.connect(t)
  await initiator.ready(0, 0)
  await initiator.ready(0, 1)
  const requests = [0, 1, 2, 3].map((i) => initiator.request(i))
  for (let round = 0; round < times(20); round++) {
    // Some that are held for a while, on queues of both IOThreads. A stop lets what has been fetched end.
    const running = [0, 1, 2].flatMap((queue) =>
      Array.from({ length: 1 + ((round * 7 + queue) % 9) }, () => {
        const command = { cdb: [0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0], lun: 1, dataIn: 512 }
        return initiator.submit(command, { queue }).done
      }),
    )
    const bases = await initiator.stop()
    t.ok(
      requests.every(({ driver, index }) => isSettled(driver, bases[index]!)),
      'nothing is in flight',
    )
    const late = [0, 3].map((queue) => initiator.submit({ cdb: TEST_UNIT_READY }, { queue }).done)
    await initiator.start()
    const results = await within(PATIENCE, 'all answers', Promise.all([...running, ...late]))
    t.ok(results.every(({ response, status }) => response === 0 && status === 0))
  }
  t.same(
    requests.map(({ driver }) => driver.outstanding),
    [0, 0, 0, 0],
    'as many answers as commands',
  )
  t.ok(
    initiator.queues.every((queue) => queue.broken === undefined),
    'nothing was given back twice',
  )
})

/** The sense of TEST UNIT READY: key, ASC, ASCQ; undefined when it is GOOD. */
async function sense(initiator: Initiator, lun = 0): Promise<number[] | undefined> {
  const { status, sense } = await initiator.scsi({ cdb: TEST_UNIT_READY, lun })
  return status === 0 ? undefined : [sense[2]! & 15, sense[12]!, sense[13]!]
}

t.test('RESET_DEVICE is a power on', async (t) => {
  const bed = await ControllerBed.start(t, { luns: [{}, {}] })
  const { initiator } = await bed.connect(t)
  for (const lun of [0, 1]) {
    t.same(await sense(initiator, lun), [6, 0x29, 0], 'that of the connection')
    t.equal(await sense(initiator, lun), undefined)
  }
  t.equal(await initiator.tmf(TMF.LOGICAL_UNIT_RESET, 0, 1), RESPONSE.OK)
  await initiator.stop()
  for (let i = 0; i < 3; i++) await initiator.frontEnd.resetDevice()
  for (const queue of initiator.queues) queue.driver.reset()
  for (const queue of initiator.queues) queue.driver.enableInterrupts()
  // The rings begin anew, as their driver does.
  await initiator.stop()
  await initiator.start()
  for (const lun of [0, 1]) {
    t.same(await sense(initiator, lun), [6, 0x29, 0], 'what was pending before is gone')
    t.equal(await sense(initiator, lun), undefined, 'once, however often it was reset')
  }
})

t.test('queues are known to the metrics once they were started', async (t) => {
  const bed = await ControllerBed.start(t, { luns: [{ id: 'root' }, { id: 'data' }] })
  t.same([...bed.controller.queues()], [])
  const { initiator } = await bed.connect(t, { queues: 2 })
  await writeAndRead(initiator, 1, 1)
  const sources = [...bed.controller.queues()]
  t.match(sources, [
    { controller: 'vm', queue: 0, iothread: 'io0', tid: bed.iothreads[0]!.tid, luns: ['root', 'data'] },
    { controller: 'vm', queue: 1, iothread: 'io1', tid: bed.iothreads[1]!.tid },
  ])
  t.ok(sources[1]!.statistics.read(0, 1, 0) > 0, 'writes of queue 1')
  await initiator.close()
  const again = await bed.connect(t, { queues: 1 })
  await writeAndRead(again.initiator, 0, 1)
  t.equal(
    [...bed.controller.queues()][1]!.statistics.read(0, 1, 0),
    sources[1]!.statistics.read(0, 1, 0),
    'counters stay',
  )
})

t.test('a call descriptor that is replaced while commands are in flight', async (t) => {
  const bed = await ControllerBed.start(t, { luns: [{ driver: 'null', size: MIB, delayUs: 1000 }] })
  const { initiator } = await bed.connect(t)
  await initiator.ready(0, 0)
  for (let i = 0; i < 20; i++) {
    const { done } = initiator.submit({ cdb: [0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0], dataIn: 512 }, { queue: i % 4 })
    await initiator.replaceCallFd(initiator.request(i % 4))
    await initiator.replaceCallFd(initiator.control)
    t.match(await within(PATIENCE, 'the answer', done), { response: 0, status: 0 })
    t.equal(await initiator.tmf(TMF.QUERY_TASK_SET, 0, 0), RESPONSE.OK)
  }
})

/** Breaks a ring; with what code. */
function breakRingOf(initiator: Initiator, index: number): string {
  const queue = initiator.queues[index]!
  const code = breakRing(queue.driver)
  queue.kick()
  return code
}

t.test('a ring of the main loop that breaks', async (t) => {
  const bed = await ControllerBed.start(t)
  const { initiator } = await bed.connect(t)
  const code = breakRingOf(initiator, VQ.CONTROL)
  await within(PATIENCE, 'the end of the control ring', initiator.control.breaks())
  t.same(bed.faults, [[VQ.CONTROL, code]])
  await writeAndRead(initiator, 0, 1)
})

t.test('a front end that goes leaves nothing', async (t) => {
  const bed = await ControllerBed.start(t, { luns: [{}, { driver: 'null', size: MIB, delayUs: 100_000 }] })
  const holds = () => ({
    files: [...openFiles(process.pid).values()].sort(),
    mappings: sharedMappings(process.pid).length,
  })
  const visit = async (t: Test): Promise<void> => {
    const { initiator, session } = await bed.connect(t, { memory: MEMORY })
    await initiator.ready(0, 1)
    for (let i = 0; i < 8; i++) {
      const { done } = initiator.submit(
        { cdb: [0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0], lun: 1, dataIn: 512 },
        { queue: i % 4 },
      )
      done.catch(() => {})
    }
    await initiator.close()
    await within(PATIENCE, 'the end of the session', session.closed)
  }
  await visit(t)
  const before = holds()
  for (let i = 0; i < 5; i++) await visit(t)
  const same = () => (JSON.stringify(holds()) === JSON.stringify(before) ? true : undefined)
  t.ok(await eventually(PATIENCE, 'as many descriptors and mappings as before', same))
})
