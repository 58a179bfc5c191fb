import { constants, truncateSync } from 'node:fs'
import { close, openFd } from 'memfd-mmap'
import t, { type Test } from 'tap'
import {
  EVENT_RESET_REASON,
  EVENT_TYPE,
  EVENTS_MISSED,
  featureMask,
  RESPONSE,
  TMF,
  VIRTIO_SCSI_F,
} from 'vhost-user-protocol-ts'
import type { LunConfig } from '../../daemon/daemon-config.js'
import { ImageLock } from '../../daemon/image-lock.js'
import { createLog } from '../../daemon/log.js'
import { refreshLun } from '../../daemon/lun-refresh.js'
import { FIELD, IoThread, OPERATION } from '../../iothreads/index.js'
import { ControllerBed } from '../support/controller-bed.js'
import { eventually, within } from '../support/deadline.js'
import { writeAndRead } from '../support/hostile/bed.js'
import { sparseImage } from '../support/image.js'
import { times } from '../support/long.js'
import { tempDir } from '../support/temp-dir.js'
import type { Initiator } from '../support/vhost/initiator.js'
import { GUEST_FEATURES } from '../support/vhost/negotiate.js'

t.setTimeout(240_000)

const PATIENCE = 30_000
const MIB = 2 ** 20
const { TRANSPORT_RESET, PARAM_CHANGE, NO_EVENT } = EVENT_TYPE
const { RESCAN, REMOVED } = EVENT_RESET_REASON
const CAPACITY_CHANGED = 0x092a
const LOG = createLog({ level: 'silent', format: 'json' })

const at = (id: string, lun: number, target = 0, readOnly = false) => ({ id, target, lun, readOnly })

/** A controller with `root` at target 0 LUN 0; the other LUNs are there to be attached. */
async function bedWith(t: Test, others: readonly Partial<LunConfig>[], luns = [at('root', 0)]): Promise<ControllerBed> {
  return ControllerBed.start(t, { luns: [{ id: 'root' }, ...others], config: { luns } })
}

const lunOf = (bed: ControllerBed, id: string) => bed.luns.find(({ config }) => config.id === id)!

/** The sense of TEST UNIT READY: key, ASC, ASCQ; undefined when it is GOOD; the response when there is no status. */
async function sense(initiator: Initiator, lun = 0, target = 0, queue = 0): Promise<number[] | number | undefined> {
  const answer = await initiator.scsi({ cdb: [0, 0, 0, 0, 0, 0], target, lun }, { queue })
  if (answer.response !== RESPONSE.OK) return answer.response
  return answer.status === 0 ? undefined : [answer.sense[2]! & 15, answer.sense[12]!, answer.sense[13]!]
}

const POWER_ON = [6, 0x29, 0]
const LUNS_CHANGED = [6, 0x3f, 0x0e]
const NO_LUN = [5, 0x25, 0]

async function luns(initiator: Initiator, target = 0): Promise<number[]> {
  const { data } = await initiator.scsi({ cdb: [0xa0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0], target, dataIn: 256 })
  const view = new DataView(data.buffer, data.byteOffset)
  return Array.from({ length: view.getUint32(0) / 8 }, (_, i) => view.getUint16(8 + 8 * i) & 0x3fff)
}

/** Writes to LUN 0 and reads it back on all queues until the answer is asked for. Rejects when data differs. */
function load(initiator: Initiator): () => Promise<number> {
  let stopped = false
  const queue = async (number: number): Promise<number> => {
    let rounds = 0
    for (; !stopped || rounds === 0; rounds++) await writeAndRead(initiator, number, rounds + number)
    return rounds
  }
  const loaded = Promise.all([0, 1, 2, 3].map(queue))
  loaded.catch(() => {})
  return async () => {
    stopped = true
    return Math.min(...(await within(PATIENCE, 'the load', loaded)))
  }
}

const write = (initiator: Initiator, lun: number, target: number, bytes: Uint8Array, queue = 0) =>
  initiator.scsi({ cdb: [0x2a, 0, 0, 0, 0, 0, 0, 0, 1, 0], target, lun, dataOut: bytes }, { queue })
const read = (initiator: Initiator, lun: number, target: number, queue = 0) =>
  initiator.scsi({ cdb: [0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0], target, lun, dataIn: 512 }, { queue })

const GOOD = { response: 0, status: 0 }
const block = (seed: number) => new Uint8Array(512).map((_, i) => Math.imul(i + seed, 0x9e3779b1) >>> 24)

t.test('a LUN comes and goes while I/O runs on others', async (t) => {
  const bed = await bedWith(t, [{ id: 'near' }, { id: 'data' }], [at('root', 0), at('near', 0, 5)])
  const { controller } = bed
  const { initiator } = await bed.connect(t)
  initiator.postEvents(4)
  await initiator.ready(0, 0)
  await initiator.ready(5, 0)
  const stop = load(initiator)
  t.same(await sense(initiator, 300, 5), NO_LUN)

  await controller.attachLun(lunOf(bed, 'data'), at('data', 300, 5))
  const come = { event: TRANSPORT_RESET, reason: RESCAN, usedLength: 16 }
  t.match(await initiator.event(), { ...come, lun: Uint8Array.of(1, 5, 0x41, 0x2c, 0, 0, 0, 0) })
  t.same(controller.luns, [at('root', 0), at('near', 0, 5), at('data', 300, 5)])
  t.same(await sense(initiator, 0, 5), LUNS_CHANGED, 'the other LUN of the target')
  t.equal(await sense(initiator, 0, 5), undefined, 'says it once')
  t.same(await sense(initiator, 300, 5), POWER_ON, 'the new one')
  t.same(await luns(initiator, 5), [0, 300])
  for (const queue of [0, 1, 2, 3]) {
    t.match(await write(initiator, 300, 5, block(queue), queue), GOOD)
    t.same((await read(initiator, 300, 5, 3 - queue)).data, block(queue), `queue ${queue}`)
  }

  await controller.detachLun('data')
  const go = { event: TRANSPORT_RESET, reason: REMOVED, usedLength: 16 }
  t.match(await initiator.event(), { ...go, lun: Uint8Array.of(1, 5, 0x41, 0x2c, 0, 0, 0, 0) })
  t.same(await sense(initiator, 300, 5), NO_LUN)
  t.same(await sense(initiator, 0, 5), LUNS_CHANGED)
  t.same(await luns(initiator, 5), [0])
  t.equal(await initiator.tmf(TMF.LOGICAL_UNIT_RESET, 5, 300), RESPONSE.INCORRECT_LUN)

  await controller.attachLun(lunOf(bed, 'data'), at('data', 0, 9))
  t.match(await initiator.event(), { ...come, lun: Uint8Array.of(1, 9, 0, 0, 0, 0, 0, 0) })
  t.same(await sense(initiator, 0, 9), POWER_ON)
  t.same((await read(initiator, 0, 9)).data, block(3), 'what it holds has stayed')
  t.equal(await sense(initiator, 0, 5), undefined, 'another target has not changed')
  await controller.detachLun('data')
  t.match(await initiator.event(), { ...go, lun: Uint8Array.of(1, 9, 0, 0, 0, 0, 0, 0) })
  t.equal(await sense(initiator, 0, 9), RESPONSE.BAD_TARGET, 'the last one took the target along')

  t.ok((await stop()) > 0, 'the data of the others was right all the time')
  t.same([bed.faults, bed.failures], [[], []])
})

t.test('many changes under load', async (t) => {
  const bed = await bedWith(t, [{ id: 'data' }])
  const { initiator } = await bed.connect(t)
  initiator.postEvents(4)
  await initiator.ready(0, 0)
  const stop = load(initiator)
  const rounds = times(30)
  for (let i = 0; i < rounds; i++) {
    const target = 1 + (i % 3)
    await bed.controller.attachLun(lunOf(bed, 'data'), at('data', i * 7, target))
    t.match(await initiator.event(), { event: TRANSPORT_RESET, reason: RESCAN })
    await initiator.ready(target, i * 7, { queue: i % 4 })
    t.match(await write(initiator, i * 7, target, block(i), i % 4), GOOD)
    await bed.controller.detachLun('data')
    t.match(await initiator.event(), { event: TRANSPORT_RESET, reason: REMOVED })
  }
  t.ok((await stop()) > 0)
  const written = [...bed.controller.queues()].map(({ luns, statistics }) =>
    statistics.read(luns.indexOf('data'), OPERATION.WRITE, FIELD.REQUESTS),
  )
  t.equal(
    written.reduce((sum, count) => sum + count, 0),
    rounds,
    'its counters go on where they were',
  )
  t.same([...bed.controller.queues()][0]!.luns, ['root', 'data'])
  t.equal(bed.controller.lunAt(1), 'data')
})

t.test('together with everything else that makes rings stand still', async (t) => {
  const bed = await bedWith(t, [{ id: 'data' }])
  const { controller } = bed
  const memory = [
    { guestAddress: 0, size: 16 * MIB },
    { guestAddress: 2 ** 32, size: MIB },
  ]
  const { initiator } = await bed.connect(t, { memory })
  initiator.postEvents(8)
  await initiator.ready(0, 0)
  const rounds = times(20)
  const [, region] = initiator.memory.regions
  const seen: number[] = []
  const changes = {
    luns: async (): Promise<void> => {
      for (let i = 0; i < rounds; i++) {
        await controller.attachLun(lunOf(bed, 'data'), at('data', i, 1))
        await controller.detachLun('data')
      }
    },
    memory: async (): Promise<void> => {
      for (let i = 0; i < rounds; i++) {
        await initiator.frontEnd.remMemReg(region!)
        await initiator.frontEnd.addMemReg(region!, region!.fd)
      }
    },
    queues: async (): Promise<void> => {
      for (let i = 0; i < 2 * rounds; i++) await controller.moveQueue(i % 4, bed.iothreads[(i >> 2) % 2]!)
    },
    functions: async (): Promise<void> => {
      for (let i = 0; i < rounds; i++) {
        const response = await initiator.tmf(TMF.QUERY_TASK_SET, 0, 0)
        t.ok(response === RESPONSE.OK || response === RESPONSE.FUNCTION_SUCCEEDED, `response ${response}`)
      }
    },
    events: async (): Promise<void> => {
      for (let i = 0; i < 2 * rounds; i++) seen.push((await initiator.event()).reason)
    },
  }
  const stop = load(initiator)
  await within(4 * PATIENCE, 'all changes', Promise.all(Object.values(changes).map((change) => change())))
  t.ok((await stop()) > 0, 'the data was right all the time')
  t.same(
    seen,
    Array.from({ length: 2 * rounds }, (_, i) => (i % 2 === 0 ? RESCAN : REMOVED)),
    'no event was lost, nor came out of order',
  )
  t.same([bed.faults, bed.failures], [[], []])
})

t.test('while the front end stops and starts its rings', async (t) => {
  const bed = await bedWith(t, [{ id: 'data' }])
  const { controller } = bed
  const { initiator } = await bed.connect(t)
  await initiator.ready(0, 0)
  let stopped = false
  const rings = async (): Promise<number> => {
    let rounds = 0
    for (; !stopped; rounds++) {
      await initiator.stop()
      await initiator.start()
    }
    return rounds
  }
  const running = rings()
  for (let i = 0; i < times(40); i++) {
    await controller.attachLun(lunOf(bed, 'data'), at('data', 1 + i))
    await controller.detachLun('data')
  }
  await controller.attachLun(lunOf(bed, 'data'), at('data', 1))
  stopped = true
  t.ok((await within(PATIENCE, 'the last start', running)) > 0)
  for (const queue of [0, 1, 2, 3]) {
    await initiator.ready(0, 1, { queue })
    t.match(await write(initiator, 1, 0, block(queue), queue), GOOD)
    await writeAndRead(initiator, queue, queue)
  }
  t.equal(await initiator.tmf(TMF.LOGICAL_UNIT_RESET, 0, 1), RESPONSE.OK)
  t.same([bed.faults, bed.failures], [[], []])
})

t.test('what is in flight at a LUN that goes ends first', async (t) => {
  const delayed = { id: 'slow', driver: 'null', size: MIB, delayUs: 200_000 } as const
  const bed = await bedWith(t, [delayed], [at('root', 0), at('slow', 1)])
  const { initiator } = await bed.connect(t)
  await initiator.ready(0, 1)
  const order: string[] = []
  const reads = [0, 1, 2, 3].map((queue) =>
    initiator
      .submit({ cdb: [0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0], lun: 1, dataIn: 512 }, { queue })
      .done.then(({ response, status }) => {
        order.push(`read ${response} ${status}`)
      }),
  )
  await eventually(PATIENCE, 'the reads in the daemon', async () =>
    (await initiator.tmf(TMF.QUERY_TASK_SET, 0, 1)) === RESPONSE.FUNCTION_SUCCEEDED ? true : undefined,
  )
  const gone = bed.controller.detachLun('slow').then(() => order.push('gone'))
  // These wait in the rings, until those before them have ended and the LUN is gone.
  const late = [0, 1, 2, 3].map((queue) => sense(initiator, 1, 0, queue))
  await within(PATIENCE, 'the answers', Promise.all([...reads, gone]))
  t.same(order.slice(-1), ['gone'])
  t.same(order.slice(0, 4), ['read 0 0', 'read 0 0', 'read 0 0', 'read 0 0'])
  for (const answer of await Promise.all(late)) t.ok(answer === undefined || Array.isArray(answer), { answer })
  t.same(await sense(initiator, 1), NO_LUN)
})

t.test('what is refused changes nothing', async (t) => {
  const directory = tempDir(t)
  const image = { driver: 'file', size: MIB } as const
  const bed = await bedWith(t, [
    { id: 'mine' },
    { id: 'shared', shareRw: true },
    { ...image, id: 'image', path: sparseImage(directory, 'a.img', 1) },
  ])
  const other = await bed.beside(t, 'other', [at('mine', 0), at('shared', 1)])
  const { controller } = bed
  const { initiator } = await bed.connect(t)
  initiator.postEvents(4)
  await initiator.ready(0, 0)
  const attach = (id: string, lun: number, readOnly = false) =>
    controller.attachLun(lunOf(bed, id), at(id, lun, 0, readOnly))
  await t.rejects(attach('root', 7), { name: 'LunError', code: 'EEXIST' }, 'it is there')
  await t.rejects(attach('mine', 0), { code: 'EEXIST' }, 'its address is taken')
  await t.rejects(controller.detachLun('mine'), { name: 'LunError', code: 'ENOENT' })
  await t.rejects(attach('mine', 1), { code: 'EBUSY' }, 'another controller writes')
  const fd = openFd(lunOf(bed, 'image').config.path!, constants.O_RDWR)
  t.teardown(() => close(fd))
  const lock = new ImageLock(fd, 'image', true, false)
  lock.acquire()
  await t.rejects(attach('image', 1), { code: 'VUS_IMAGE_LOCKED' }, 'another process writes')
  lock.release()
  t.same(controller.luns, [at('root', 0)])
  t.same(await luns(initiator), [0])
  t.equal(await sense(initiator, 0), undefined, 'nothing has changed for the guest')
  t.same([...lunOf(bed, 'mine').nexuses].length, 1)

  await attach('mine', 1, true)
  await attach('shared', 2)
  await attach('image', 3)
  t.same(await luns(initiator), [0, 1, 2, 3])
  for (let i = 0; i < 3; i++) t.match(await initiator.event(), { event: TRANSPORT_RESET, reason: RESCAN })
  t.throws(() => lock.acquire(), { code: 'VUS_IMAGE_LOCKED' }, 'the image of a LUN that came is locked')
  await controller.detachLun('image')
  lock.acquire()
  lock.release()

  const second = (await other.connect(t)).initiator
  for (const lun of [0, 1]) await second.ready(0, lun)
  for (const lun of [1, 2]) await initiator.ready(0, lun)
  t.match(await write(second, 1, 0, block(1)), GOOD)
  t.same((await read(initiator, 2, 0)).data, block(1), 'both see the shared one')
  t.equal((await write(initiator, 1, 0, block(2))).status, 2, 'read-only as it was attached')
  t.equal(await initiator.tmf(TMF.LOGICAL_UNIT_RESET, 0, 2), RESPONSE.OK)
  t.same(await sense(second, 1), [6, 0x29, 3], 'it is one LUN')
})

t.test('without a front end', async (t) => {
  const bed = await bedWith(t, [{ id: 'data' }])
  const { controller } = bed
  await controller.attachLun(lunOf(bed, 'data'), at('data', 1))
  const { initiator } = await bed.connect(t)
  t.same(await luns(initiator), [0, 1])
  t.same(await sense(initiator, 1), POWER_ON)
  t.equal(await sense(initiator, 1), undefined, 'no more than that')
  await initiator.close()
  await eventually(PATIENCE, 'the end of the connection', () => (controller.queue(0).size ? undefined : true))
  await controller.detachLun('data')
  const again = (await bed.connect(t)).initiator
  again.postEvents(1)
  t.same(await luns(again), [0])
  await controller.attachLun(lunOf(bed, 'data'), at('data', 2))
  t.match(await again.event(), { event: TRANSPORT_RESET, reason: RESCAN }, 'not that it missed any')
})

t.test('an IOThread that comes later has the LUNs as they are', async (t) => {
  const bed = await bedWith(t, [{ id: 'data' }])
  const { initiator } = await bed.connect(t)
  await bed.controller.attachLun(lunOf(bed, 'data'), at('data', 1))
  const events = { fault: () => {}, failed: () => {}, mediumFault: () => {}, forwarded: () => {}, recalled: () => {} }
  const late = await IoThread.start({ id: 'late' }, events)
  await bed.controller.moveQueue(2, late)
  await initiator.ready(0, 1)
  t.match(await write(initiator, 1, 0, block(5), 2), GOOD)
  await bed.controller.detachLun('data')
  t.same(await sense(initiator, 1, 0, 2), NO_LUN)
  await bed.controller.moveQueue(2, bed.iothreads[0]!)
  await late.stop()
})

t.test('events that find no buffer are missed', async (t) => {
  const bed = await bedWith(t, [{ id: 'data' }])
  const { initiator } = await bed.connect(t)
  await bed.controller.attachLun(lunOf(bed, 'data'), at('data', 1))
  await bed.controller.detachLun('data')
  initiator.postEvents(2)
  const missed = { event: NO_EVENT + EVENTS_MISSED, lun: new Uint8Array(8), reason: 0, usedLength: 16 }
  t.same(await initiator.event(), missed, 'as soon as there is a buffer')
  for (let i = 0; i < 5; i++) initiator.events.kick()
  await bed.controller.attachLun(lunOf(bed, 'data'), at('data', 1))
  t.match(await initiator.event(), { event: TRANSPORT_RESET, reason: RESCAN }, 'kicks bring nothing')

  await initiator.stop()
  await bed.controller.detachLun('data')
  await initiator.start()
  t.same(await initiator.event(), missed, 'of an event while the rings stood still')
  await bed.controller.attachLun(lunOf(bed, 'data'), at('data', 1))
  t.match(await initiator.event(), { event: TRANSPORT_RESET, reason: RESCAN })
})

t.test('an image that grows is seen by all guests, each in its way', async (t) => {
  const path = sparseImage(tempDir(t), 'disk.img', 1)
  const bed = await bedWith(t, [{ id: 'disk', driver: 'file', path, size: MIB, shareRw: true }], [at('disk', 1)])
  const other = await bed.beside(t, 'other', [at('disk', 500, 2)])
  const third = await bed.beside(t, 'third', [at('disk', 0)])
  const { initiator } = await bed.connect(t)
  const second = (await other.connect(t)).initiator
  const deaf = (await third.connect(t, { features: GUEST_FEATURES & ~featureMask(VIRTIO_SCSI_F.CHANGE) })).initiator
  await initiator.ready(0, 1)
  await second.ready(2, 500)
  await deaf.ready(0, 0)
  for (const each of [initiator, second, deaf]) each.postEvents(2)
  const capacity = async (each: Initiator, lun: number, target: number): Promise<number> => {
    const { data } = await each.scsi({ cdb: [0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0], target, lun, dataIn: 8 })
    return new DataView(data.buffer, data.byteOffset).getUint32(0) + 1
  }
  t.equal(await capacity(initiator, 1, 0), 2048)
  truncateSync(path, 3 * MIB)
  t.equal(await capacity(initiator, 1, 0), 2048, 'nobody has looked yet')
  t.same(refreshLun(lunOf(bed, 'disk'), LOG), { size: 3 * MIB, grown: true })
  const change = { event: PARAM_CHANGE, reason: CAPACITY_CHANGED, usedLength: 16 }
  t.match(await initiator.event(), { ...change, lun: Uint8Array.of(1, 0, 0, 1, 0, 0, 0, 0) })
  t.match(await second.event(), { ...change, lun: Uint8Array.of(1, 2, 0x41, 0xf4, 0, 0, 0, 0) })
  for (const [each, lun, target] of [
    [initiator, 1, 0],
    [second, 500, 2],
    [deaf, 0, 0],
  ] as const) {
    t.same(await sense(each, lun, target), [6, 0x2a, 9], 'CAPACITY DATA HAS CHANGED')
    t.equal(await sense(each, lun, target), undefined)
    t.equal(await capacity(each, lun, target), 6144)
  }
  const last = { cdb: [0x2a, 0, 0, 0, 0x17, 0xff, 0, 0, 1, 0], dataOut: block(9) }
  t.match(await initiator.scsi({ ...last, lun: 1 }), GOOD, 'a write to the new last block')
  const { data } = await second.scsi({ cdb: [0x28, ...last.cdb.slice(1)], target: 2, lun: 500, dataIn: 512 })
  t.same(data, block(9))
  await third.controller.attachLun(lunOf(bed, 'root'), at('root', 1))
  t.match(await deaf.event(), { event: TRANSPORT_RESET }, 'a driver without CHANGE has had no PARAM_CHANGE')
})

t.test('a driver without HOTPLUG hears of no LUNs that come and go', async (t) => {
  const path = sparseImage(tempDir(t), 'disk.img', 1)
  const bed = await bedWith(t, [{ id: 'disk', driver: 'file', path, size: MIB }])
  const { initiator } = await bed.connect(t, { features: GUEST_FEATURES & ~featureMask(VIRTIO_SCSI_F.HOTPLUG) })
  await initiator.ready(0, 0)
  initiator.postEvents(2)
  await bed.controller.attachLun(lunOf(bed, 'disk'), at('disk', 3))
  t.same(await sense(initiator, 0), LUNS_CHANGED, 'but by a unit attention')
  await bed.controller.detachLun('disk')
  await bed.controller.attachLun(lunOf(bed, 'disk'), at('disk', 3))
  truncateSync(path, 2 * MIB)
  refreshLun(lunOf(bed, 'disk'), LOG)
  t.match(await initiator.event(), { event: PARAM_CHANGE, reason: CAPACITY_CHANGED }, 'nor that it missed any')
})

t.test('a controller that is gone takes no LUN', async (t) => {
  const bed = await bedWith(t, [{ id: 'data' }])
  const other = await bed.beside(t, 'other', [])
  await other.controller.detach()
  await t.rejects(other.controller.attachLun(lunOf(bed, 'data'), at('data', 0)), { code: 'ESHUTDOWN' })
  t.equal(lunOf(bed, 'data').nexuses.size, 0)
})
