import t from 'tap'
import {
  CMD_REQUEST,
  CMD_RESPONSE,
  DESC_F,
  featureMask,
  TMF_REQUEST,
  TMF_RESPONSE,
  VHOST_USER_F,
  VIRTIO_F,
  VQ,
} from 'vhost-user-protocol-ts'
import { BEYOND, Bed, NOWHERE, REGIONS } from '../../support/hostile/bed.js'
import { type RawDescriptor, RawGuest, type RawGuestOptions } from '../../support/hostile/raw-guest.js'
import { writeCommand, writeTmf } from '../../support/vhost/scsi-request.js'

t.setTimeout(240_000)

const bed = await Bed.start(t, { attacks: 48 })

const { NEXT, WRITE, INDIRECT } = DESC_F
const SIZE = 16

/** Where things are in guest memory, beyond the rings. */
const HEADER = 0x10_0000
const RESPONSE = 0x10_1000
const TABLE = 0x20_0000
const DATA = 0x10_4000

const OPTIONS: RawGuestOptions = { memory: REGIONS, ringSize: SIZE, rings: 4 }

/** A chain that is good: TEST UNIT READY on a request queue, LOGICAL UNIT RESET on the control queue. */
function writeGood(guest: RawGuest, ring: number, at: number): void {
  const [read, written] =
    ring === VQ.CONTROL ? [TMF_REQUEST.SIZE, TMF_RESPONSE.SIZE] : [CMD_REQUEST.SIZE, CMD_RESPONSE.SIZE]
  if (ring === VQ.CONTROL) writeTmf(guest.memory.bytes(HEADER, read), 5, 0, 0, 0)
  else writeCommand(guest.memory.bytes(HEADER, read), { cdb: new Uint8Array(6) }, 1)
  guest.ring(ring).describe(at, { address: HEADER, length: read, flags: NEXT, next: at + 1 })
  guest.ring(ring).describe(at + 1, { address: RESPONSE, length: written, flags: WRITE })
}

interface Attack {
  readonly code: string
  /** Descriptors from number 4 on: the chain's head is 4, unless `head` says otherwise. */
  readonly direct?: readonly RawDescriptor[]
  readonly indirect?: readonly RawDescriptor[]
  readonly head?: number
  /** How far beyond the two good chains before it the available index is. Default 1. */
  readonly ahead?: number
  /** Features other than usual. */
  readonly features?: bigint
}

const table = (entries: number, flags = INDIRECT): RawDescriptor => ({ address: TABLE, length: 16 * entries, flags })
/** Buffers of a chain that a device should not have to follow to its end. */
const LONG = 32768
const buffer = { address: DATA, length: 64 }

const ATTACKS: Record<string, Attack> = {
  'a head that is out of range': { code: 'VUS_RING_HEAD_OUT_OF_RANGE', head: SIZE },
  'the highest head': { code: 'VUS_RING_HEAD_OUT_OF_RANGE', head: 65535 },
  'a next out of range': { code: 'VUS_RING_NEXT_OUT_OF_RANGE', direct: [{ ...buffer, flags: NEXT, next: SIZE }] },
  'a descriptor that follows itself': {
    code: 'VUS_RING_DESCRIPTOR_LOOP',
    direct: [{ ...buffer, flags: NEXT, next: 4 }],
  },
  'a loop of writable buffers': {
    code: 'VUS_RING_DESCRIPTOR_LOOP',
    direct: [
      { ...buffer, flags: NEXT | WRITE, next: 5 },
      { ...buffer, flags: NEXT | WRITE, next: 4 },
    ],
  },
  'an indirect loop': {
    code: 'VUS_RING_DESCRIPTOR_LOOP',
    direct: [table(2)],
    indirect: [
      { ...buffer, flags: NEXT, next: 1 },
      { ...buffer, flags: NEXT, next: 0 },
    ],
  },
  'indirect in indirect': { code: 'VUS_RING_NESTED_INDIRECT', direct: [table(1)], indirect: [table(1)] },
  'an indirect table without length': { code: 'VUS_RING_INDIRECT_LENGTH', direct: [table(0)] },
  'an indirect table of one and a half descriptors': {
    code: 'VUS_RING_INDIRECT_LENGTH',
    direct: [{ ...table(1), length: 24 }],
  },
  'an indirect table of 4 GiB': { code: 'VUS_RING_INDIRECT_LENGTH', direct: [{ ...table(1), length: 0xfffffff0 }] },
  'an indirect table where there is no memory': {
    code: 'VUS_RING_INDIRECT_ADDRESS',
    direct: [{ ...table(1), address: NOWHERE }],
  },
  'an indirect table over the end of memory': {
    code: 'VUS_RING_INDIRECT_ADDRESS',
    direct: [{ ...table(2), address: REGIONS[0]!.size - 16 }],
  },
  'an indirect descriptor with a next': {
    code: 'VUS_RING_INDIRECT_AND_NEXT',
    direct: [{ ...table(1), flags: INDIRECT | NEXT, next: 5 }, buffer],
    indirect: [buffer],
  },
  'an indirect next out of range': {
    code: 'VUS_RING_NEXT_OUT_OF_RANGE',
    direct: [table(1)],
    indirect: [{ ...buffer, flags: NEXT, next: 1 }],
  },
  'an indirect table that was not negotiated': {
    code: 'VUS_RING_INDIRECT_NOT_NEGOTIATED',
    direct: [table(1)],
    indirect: [buffer],
    features: featureMask(VIRTIO_F.VERSION_1, VIRTIO_F.EVENT_IDX, VHOST_USER_F.PROTOCOL_FEATURES),
  },
  'a readable buffer after a writable one': {
    code: 'VUS_RING_READABLE_AFTER_WRITABLE',
    direct: [{ ...buffer, flags: NEXT | WRITE, next: 5 }, buffer],
  },
  'an address and length beyond 2^64': {
    code: 'VUS_RING_ADDRESS_RANGE',
    direct: [{ address: 0xffff_ffff_ffff_f000n, length: 0x2000 }],
  },
  'a chain longer than any request': {
    code: 'VUS_RING_CHAIN_LENGTH',
    direct: [table(LONG)],
    indirect: Array.from({ length: LONG }, (_, i) => ({ ...buffer, length: 0, flags: NEXT, next: i + 1 })),
  },
  'an available index two rings ahead': { code: 'VUS_RING_AVAILABLE_INDEX', ahead: 2 * SIZE },
  'an available index one more than fits': { code: 'VUS_RING_AVAILABLE_INDEX', ahead: SIZE + 1 },
  'an available index that goes back': { code: 'VUS_RING_AVAILABLE_INDEX', ahead: -1 },
}

/** Two good chains, then the attack; the ring dies at it, the others do not, and it can be set up anew. */
async function attack(t: Parameters<Bed['suffers']>[0], index: number, a: Attack): Promise<void> {
  const guest = await RawGuest.connect(t, bed.daemon.socketPath, {
    ...OPTIONS,
    ...(a.features === undefined ? {} : { features: a.features }),
  })
  const ring = guest.ring(index)
  const other = guest.ring(VQ.REQUEST + 1)
  await ring.start()
  await other.start()
  writeGood(guest, index, 0)
  ring.enter(0, [0, 0])
  ring.show(2)
  t.equal(await ring.settled(2), 'used', 'good chains are served')

  a.direct?.forEach((descriptor, i) => {
    ring.describe(4 + i, descriptor)
  })
  if (a.indirect !== undefined) guest.writeTable(TABLE, a.indirect)
  ring.enter(2, [a.head ?? 4])
  ring.show(2 + (a.ahead ?? 1))
  t.equal(await ring.settled(undefined), 'broken', 'the error descriptor is signalled')
  t.equal(ring.usedIndex, 2, 'nothing is given back')

  writeGood(guest, VQ.REQUEST + 1, 0)
  other.enter(0, [0])
  other.show(1)
  t.equal(await other.settled(1), 'used', 'another ring lives')

  t.equal(await ring.stop(), 2, 'it stopped at what broke it')
  ring.clear()
  await ring.start()
  writeGood(guest, index, 0)
  ring.enter(0, [0])
  ring.show(1)
  t.equal(await ring.settled(1), 'used', 'set up anew it works')
  await guest.close()
}

for (const [name, index] of [
  ['a request queue', VQ.REQUEST],
  ['the control queue', VQ.CONTROL],
] as const) {
  t.test(name, async (t) => {
    for (const [name, a] of Object.entries(ATTACKS)) {
      await bed.suffers(t, name, { [a.code]: 1 }, (t) => attack(t, index, a))
    }
  })
}

t.test('the control queue only', async (t) => {
  await bed.suffers(t, 'a request that is not in memory', { VUS_RING_ADDRESS_RANGE: 1 }, (t) =>
    attack(t, VQ.CONTROL, { code: '', direct: [{ address: BEYOND, length: TMF_REQUEST.SIZE }] }),
  )
})
