// Two controllers on one LUN: reservations as two guests see them.
import t, { type Test } from 'tap'
import { RESPONSE, TMF } from 'vhost-user-protocol-ts'
import { initiatorPort } from '../../daemon/initiator-port.js'
import { targetPort } from '../../daemon/target-ports.js'
import { hexAt } from '../../scsi/reservations/transport-id.js'
import { moveList } from '../scsi/support/reservations.js'
import { startConfigured } from '../support/configured-daemon.js'
import { eventually, within } from '../support/deadline.js'
import { ReservingGuest } from '../support/reserving-guests.js'

t.setTimeout(240_000)

const PATIENCE = 30_000
const CONFLICT = 0x18
const ALL = [0, 0, 0, 0]
const READ = [0, 0, CONFLICT, CONFLICT]
const NOTHING = [CONFLICT, CONFLICT, CONFLICT, CONFLICT]
const PREEMPTED = [0x2a, 5]
const RELEASED = [0x2a, 4]
const CLEARED = [0x2a, 3]

/** Both guests have the disk as LUN 0, and one that takes its time as LUN 1. */
const daemons = await startConfigured(t, {
  iothreads: [{ id: 'io0' }, { id: 'io1' }],
  luns: [
    { id: 'disk', driver: 'memory', size: '1M', 'share-rw': 'on' },
    { id: 'slow', driver: 'null', size: '1M', 'delay-us': 1_000_000, 'share-rw': 'on' },
  ],
  controllers: ['a', 'b'].map((id) => ({
    id,
    'num-queues': 2,
    luns: [
      { id: 'disk', target: 0, lun: 0 },
      { id: 'slow', target: 0, lun: 1 },
    ],
  })),
})

const connect = (t: Test, which: number): Promise<ReservingGuest> =>
  ReservingGuest.connect(t, daemons[which]!, true, [0, 1])

async function guests(t: Test) {
  return { a: await connect(t, 0), b: await connect(t, 1) }
}

/** Nobody is registered any more, and nothing is to be told. */
async function clear(a: ReservingGuest, b: ReservingGuest): Promise<void> {
  await a.out('REGISTER_AND_IGNORE_EXISTING_KEY', { actionKey: 9 })
  await a.out('CLEAR', { key: 9 })
  for (const guest of [a, b]) while ((await guest.attention()) !== undefined);
}

for (const [type, name, stranger, registrant] of [
  [1, 'Write Exclusive', READ, READ],
  [3, 'Exclusive Access', NOTHING, NOTHING],
  [5, 'Write Exclusive, Registrants Only', READ, ALL],
  [6, 'Exclusive Access, Registrants Only', NOTHING, ALL],
  [7, 'Write Exclusive, All Registrants', READ, ALL],
  [8, 'Exclusive Access, All Registrants', NOTHING, ALL],
] as const) {
  t.test(name, async (t) => {
    const { a, b } = await guests(t)
    t.equal(await a.out('REGISTER', { actionKey: 1 }), 0)
    t.equal(await b.out('RESERVE', { key: 0 }, type), CONFLICT, 'not registered')
    t.equal(await a.out('RESERVE', { key: 1 }, type), 0)
    t.same(await b.reservation(), [type < 7 ? 1 : 0, type])
    t.same([await a.access(), await b.access()], [ALL, stranger], 'conflict on the other path')
    t.equal(await b.out('REGISTER', { actionKey: 2 }), 0)
    t.same([await a.access(), await b.access()], [ALL, registrant])
    t.equal(await b.out('PREEMPT', { key: 2, actionKey: type < 7 ? 1 : 0 }, type), 0)
    t.same(await a.attention(), PREEMPTED)
    t.same([await a.access(), await b.access()], [stranger, ALL])
    t.same(await a.keys(), [2])
    t.equal(await a.out('REGISTER', { actionKey: 3 }), 0)
    t.equal(await b.out('RELEASE', { key: 2 }, type), 0)
    t.same(await a.attention(), type >= 5 ? RELEASED : undefined)
    t.same([await a.access(), await b.access()], [ALL, ALL])
    t.equal(await b.out('RESERVE', { key: 2 }, type), 0)
    t.equal(await a.out('CLEAR', { key: 3 }), 0)
    t.same(await b.attention(), CLEARED)
    t.same([await a.keys(), await a.reservation()], [[], undefined])
    t.same([await a.access(), await b.access()], [ALL, ALL])
    await clear(a, b)
  })
}

t.test('READ FULL STATUS names the ports; REGISTER AND MOVE takes such names', async (t) => {
  const { a, b } = await guests(t)
  await a.out('REGISTER', { actionKey: 1 })
  await a.out('RESERVE', { key: 1 }, 3)
  const status = await b.in(3)
  t.equal(status[7], 48, 'one descriptor')
  t.equal(status[20], 1, 'R_HOLDER')
  t.equal(status[26]! * 256 + status[27]!, targetPort('a').relative)
  t.equal(hexAt(status, 36), initiatorPort('a'))
  const to = { initiator: initiatorPort('b'), port: targetPort('b').relative }
  t.equal(await a.out('REGISTER_AND_MOVE', moveList({ key: 1, actionKey: 2, to })), 0)
  t.same([await a.access(), await b.access()], [NOTHING, ALL])
  t.same(await a.keys(), [1, 2])
  await clear(a, b)
})

t.test('SPEC_I_PT and ALL_TG_PT', async (t) => {
  const { a, b } = await guests(t)
  const fields = { actionKey: 1, allTargetPorts: true, initiators: [initiatorPort('b')] }
  t.equal(await a.out('REGISTER', fields), 0)
  t.same(await a.keys(), [1, 1, 1, 1])
  t.equal(await b.out('RESERVE', { key: 1 }, 5), 0, 'registered by the other')
  t.same(await a.access(), ALL)
  await clear(a, b)
})

t.test('APTPL without a state directory is refused', async (t) => {
  const { a } = await guests(t)
  t.same(await a.out('REGISTER', { actionKey: 1, aptpl: true }), [0x26, 0])
  t.equal((await a.in(2))[2]! & 1, 0, 'PTPL_C')
})

t.test('a persistent reservation survives resets and the loss of its nexus', async (t) => {
  const { a, b } = await guests(t)
  await a.out('REGISTER', { actionKey: 1 })
  await a.out('RESERVE', { key: 1 }, 3)
  t.equal(await b.initiator.tmf(TMF.LOGICAL_UNIT_RESET, 0, 0), RESPONSE.OK)
  t.same(
    [await a.attention(), await b.attention()],
    [
      [0x29, 3],
      [0x29, 3],
    ],
  )
  t.equal(await a.initiator.tmf(TMF.I_T_NEXUS_RESET, 0, 0), RESPONSE.OK)
  t.same(await a.attention(), [0x29, 7])
  t.same([await a.access(), await b.access()], [ALL, NOTHING])
  await a.initiator.close()
  t.same(await b.access(), NOTHING)
  const again = await connect(t, 0)
  t.same(await again.access(), ALL, 'its TransportID is the same')
  await clear(again, b)
})

t.test('RESERVE ends with a reset, and with its nexus', async (t) => {
  const { a, b } = await guests(t)
  const reserve = async (guest: ReservingGuest, opcode = 0x16) =>
    (await guest.initiator.scsi({ cdb: [opcode, 0, 0, 0, 0, 0], target: 0, lun: 0 })).status
  t.equal(await reserve(a), 0)
  t.same([await a.access(), await b.access(), await reserve(b)], [ALL, NOTHING, CONFLICT])
  t.equal(await reserve(b, 0x17), 0, 'RELEASE, of nothing')
  t.same(await b.access(), NOTHING)
  t.equal(await b.initiator.tmf(TMF.LOGICAL_UNIT_RESET, 0, 0), RESPONSE.OK)
  await a.attention()
  await b.attention()
  t.equal(await reserve(b), 0)
  t.same(await a.access(), NOTHING)
  t.equal(await b.initiator.tmf(TMF.I_T_NEXUS_RESET, 0, 0), RESPONSE.OK)
  t.same(await a.access(), ALL)
  t.same(await b.attention(), [0x29, 7])
  t.equal(await reserve(b), 0)
  await b.initiator.close()
  await eventually(PATIENCE, 'the end of the reservation', async () =>
    (await a.read()).status === 0 ? true : undefined,
  )
})

/** What a guest has in flight at the slow LUN, one command on each queue. */
async function hold({ initiator }: ReservingGuest, opcode: number) {
  const cdb = [opcode, 0, 0, 0, 0, 0, 0, 0, 1, 0]
  const data = opcode === 0x2a ? { dataOut: new Uint8Array(512) } : { dataIn: 512 }
  const held = [0, 1].map((queue) => initiator.submit({ cdb, target: 0, lun: 1, ...data }, { queue }))
  for (const { tag } of held) {
    await eventually(PATIENCE, 'the command in the daemon', async () =>
      (await initiator.tmf(TMF.QUERY_TASK, 0, 1, tag)) === RESPONSE.FUNCTION_SUCCEEDED ? true : undefined,
    )
  }
  return held
}

async function slowGuests(t: Test) {
  const { a, b } = await guests(t)
  return { a: new ReservingGuest(a.initiator, 1), b: new ReservingGuest(b.initiator, 1) }
}

t.test('PREEMPT AND ABORT ends what the other has in flight', async (t) => {
  const { a, b } = await slowGuests(t)
  await a.out('REGISTER', { actionKey: 1 })
  await b.out('REGISTER', { actionKey: 2 })
  await a.out('RESERVE', { key: 1 }, 5)
  const held = await hold(a, 0x28)
  t.equal(await b.out('PREEMPT_AND_ABORT', { key: 2, actionKey: 1 }, 5), 0)
  const answers = await within(PATIENCE, 'the answers', Promise.all(held.map(({ done }) => done)))
  t.same(
    answers.map(({ response }) => response),
    [RESPONSE.ABORTED, RESPONSE.ABORTED],
  )
  t.same([await a.attention(), await a.attention(), await a.attention()], [PREEMPTED, [0x2f, 0], undefined])
  await clear(a, b)
})

t.test('RESERVE is answered after what was admitted before has ended', async (t) => {
  const { a, b } = await slowGuests(t)
  await b.out('REGISTER', { actionKey: 2 })
  const held = await hold(a, 0x2a)
  let ended = 0
  const answers = held.map(async ({ done }) => {
    const { status } = await done
    ended++
    return status
  })
  t.equal(await b.out('RESERVE', { key: 2 }, 3), 0)
  t.equal(ended, 2)
  t.same(await Promise.all(answers), [0, 0])
  t.equal((await a.read()).status, CONFLICT)
  await clear(a, b)
})
