import { readdirSync } from 'node:fs'
import { socketPair } from 'memfd-mmap'
import t from 'tap'
import {
  BackendSession,
  EVENT_TYPE,
  featureMask,
  TMF,
  VHOST_USER_F,
  VHOST_USER_PROTOCOL_F,
  VIRTIO_F,
} from 'vhost-user-protocol-ts'
import { within } from '../deadline.js'
import type { Teardown } from '../teardown.js'
import { Initiator, type InitiatorOptions } from './initiator.js'
import { PLAIN_PROTOCOL_FEATURES, PlainBackEnd } from './plain-back-end.js'

const openFds = () => readdirSync('/proc/self/fd').length

async function connect(t: Teardown, o: InitiatorOptions = {}, backEnd = new PlainBackEnd()) {
  const [back, front] = socketPair()
  const session = new BackendSession(back, backEnd)
  const initiator = await Initiator.connect(front, { queues: 2, ...o })
  t.teardown(async () => {
    await initiator.close()
    await session.closed
  })
  return { initiator, backEnd, session }
}

const MIB = 2 ** 20

t.test('commands in each style, over both kinds of notification', async (t) => {
  const layouts: Record<string, InitiatorOptions> = {
    'events, direct': {},
    'events, indirect': { style: 'indirect' },
    'events, mixed': { style: 'mixed' },
    'flags, direct': { features: featureMask(VIRTIO_F.VERSION_1, VHOST_USER_F.PROTOCOL_FEATURES) },
    'without protocol features': { features: featureMask(VIRTIO_F.VERSION_1) },
    'two regions with a gap': {
      memory: [
        { guestAddress: 0, size: MIB },
        { guestAddress: 0x1_0000_0000, size: 4 * MIB, mmapOffset: 4096, userAddress: 0x7000_0000_0000 },
      ],
      ringRegion: 1,
    },
    'data far up in a large region': { memory: [{ guestAddress: 0x10_0000_0000, size: 2 ** 31 }] },
  }
  for (const [name, options] of Object.entries(layouts)) {
    await t.test(name, async (t) => {
      const { initiator } = await connect(t, options)
      for (const queue of [0, 1]) {
        const read = await initiator.scsi({ cdb: [0x28], dataIn: 5000, tag: 0x1177, split: [512, 1] }, { queue })
        t.match(read, { response: 0, status: 0, residual: 0, usedLength: 5108 })
        t.equal(read.data.length, 5000)
        t.ok(read.data.every((byte) => byte === 0x77))
        const write = await initiator.scsi({ cdb: [0x2a], dataOut: new Uint8Array(3000), split: [1000] }, { queue })
        t.match(write, { response: 0, status: 0, residual: 3000, usedLength: 108 })
      }
      const bad = await initiator.scsi({ cdb: [0xff] })
      t.equal(bad.status, 2)
      t.equal(bad.sense.length, 18)
    })
  }
})

t.test('many commands at once', async (t) => {
  const { initiator } = await connect(t, { ringSize: 64 })
  for (let round = 0; round < 20; round++) {
    const submitted = Array.from({ length: 21 }, (_, i) =>
      initiator.submit({ cdb: [0x28], dataIn: 64, tag: i }, { unpublished: true }),
    )
    initiator.request(0).publish()
    const results = await within(10_000, 'all of them', Promise.all(submitted.map((s) => s.done)))
    t.ok(results.every((result, i) => result.data.every((byte) => byte === i)))
  }
  t.equal(initiator.request(0).driver.freeDescriptors, 64)
})

t.test('control requests and events', async (t) => {
  const { initiator, backEnd } = await connect(t)
  t.equal(await initiator.tmf(TMF.LOGICAL_UNIT_RESET, 0, 0), 0)
  backEnd.controlResponse = 9
  t.equal(await initiator.tmf(TMF.ABORT_TASK, 0, 0, 7), 9)
  t.match(await initiator.asyncNotification(1, 0, 0, 2), { response: 9, events: 0x09090909 })
  t.equal(backEnd.raise(EVENT_TYPE.PARAM_CHANGE, 1), false, 'no buffer yet')
  initiator.postEvents(2)
  for (let i = 0; i < 5; i++) {
    t.equal(backEnd.raise(EVENT_TYPE.PARAM_CHANGE, i), true)
    t.match(await initiator.event(), { event: EVENT_TYPE.PARAM_CHANGE, reason: i, usedLength: 16 })
  }
})

t.test('rings stop, start where they were, and change their call descriptor', async (t) => {
  const { initiator, backEnd } = await connect(t)
  await initiator.scsi({ cdb: [0] })
  await initiator.scsi({ cdb: [0] })
  t.same(await initiator.stop(), [0, 0, 2, 0])
  const late = initiator.submit({ cdb: [0] })
  await initiator.start()
  t.equal((await within(10_000, 'what was submitted while stopped', late.done)).status, 0)
  t.equal(backEnd.setups.findLast((setup) => setup.index === 2)?.base, 2)
  const changes = backEnd.callChanges
  await initiator.replaceCallFd(initiator.request(0))
  t.equal(backEnd.callChanges, changes + 1)
  t.equal((await initiator.scsi({ cdb: [0] })).status, 0)
})

t.test('memory goes over in one table where slots are not offered', async (t) => {
  const without = PLAIN_PROTOCOL_FEATURES & ~featureMask(VHOST_USER_PROTOCOL_F.CONFIGURE_MEM_SLOTS)
  const { initiator } = await connect(t, {}, new PlainBackEnd(without))
  t.equal((await initiator.scsi({ cdb: [0] })).status, 0)
})

t.test('a device that lies is found out', async (t) => {
  const { initiator, backEnd } = await connect(t)
  await initiator.scsi({ cdb: [0] })
  backEnd.lie(2, 5)
  const error = await within(10_000, 'the lie', initiator.request(0).breaks())
  t.match(error, { code: 'VUS_USED_RING' })
  await t.rejects(initiator.scsi({ cdb: [0] }), { code: 'VUS_USED_RING' })
})

t.test('a deadline ends the wait for an answer that does not come', async (t) => {
  const { initiator } = await connect(t, { deadline: 50, stopped: true })
  await t.rejects(initiator.scsi({ cdb: [0] }), { code: 'VUS_TEST_DEADLINE' })
})

t.test('nothing is left open', async (t) => {
  const before = openFds()
  const [back, front] = socketPair()
  const session = new BackendSession(back, new PlainBackEnd())
  const initiator = await Initiator.connect(front)
  await initiator.scsi({ cdb: [0] })
  await initiator.close()
  await session.closed
  t.equal(openFds(), before)
})
