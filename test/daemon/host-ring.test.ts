import { Mapping } from 'memfd-mmap'
import t from 'tap'
import { featureMask, GuestMemory, type RingSetup, VIRTIO_F, VRING_ADDRESS_F } from 'vhost-user-protocol-ts'
import { hostRing } from '../../daemon/host-ring.js'

const USER = 0x7f00_0000_0000
const SIZE = 2 ** 16
const OTHER = USER + 2 ** 32 + 1

/** One region that lies as its user addresses say, and one that is a byte off. */
function memory() {
  const mapping = Mapping.anonymous(2 * SIZE)
  t.teardown(() => mapping.retire())
  const host = mapping.address
  const regions = [
    { guestAddress: 0, size: SIZE, userAddress: USER, hostAddress: host },
    { guestAddress: SIZE, size: SIZE, userAddress: OTHER, hostAddress: host + SIZE },
  ]
  return { host, memory: new GuestMemory(regions) }
}

const setup = (overrides: Partial<RingSetup> = {}): RingSetup => ({
  index: 3,
  size: 256,
  base: 77,
  desc: USER,
  avail: USER + 0x2000,
  used: USER + 0x4000,
  logAddress: 0,
  flags: 0,
  kickFd: 10,
  callFd: 11,
  errFd: -1,
  features: 0n,
  ...overrides,
})

t.test('user addresses become those of this process', async (t) => {
  const { host, memory: guest } = memory()
  t.same(hostRing(setup(), guest), {
    index: 3,
    packed: false,
    size: 256,
    base: 77,
    desc: host,
    avail: host + 0x2000,
    used: host + 0x4000,
    eventIdx: false,
    indirect: false,
    kickFd: 10,
    callFd: 11,
    errFd: -1,
  })
  const features = [VIRTIO_F.EVENT_IDX, VIRTIO_F.INDIRECT_DESC]
  t.match(hostRing(setup({ features: featureMask(VIRTIO_F.EVENT_IDX) }), guest), { eventIdx: true, indirect: false })
  t.match(hostRing(setup({ features: featureMask(...features) }), guest), { eventIdx: true, indirect: true })
})

t.test('every part has to be in memory to its last byte', async (t) => {
  const { memory: guest } = memory()
  const end = USER + SIZE
  const fits = { desc: end - 4096, avail: end - 518, used: end - 2056 }
  // avail: 6 + 2 * 256 bytes; used: 6 + 8 * 256, aligned to 4.
  for (const [part, address] of Object.entries(fits)) {
    t.equal(typeof hostRing(setup({ [part]: address }), guest).desc, 'number', `${part} at the very end`)
    const step = part === 'avail' ? 2 : part === 'used' ? 4 : 16
    const name = { desc: 'descriptor table', avail: 'available ring', used: 'used ring' }[part]!
    for (const wrong of [address + step, 0, 2 ** 53 - 16, USER - 16]) {
      t.throws(
        () => hostRing(setup({ [part]: wrong }), guest),
        { name: 'DeviceError', code: 'VUS_RING_ADDRESS', message: new RegExp(`ring 3: its ${name} at 0x`) },
        `${part} at 0x${wrong.toString(16)}`,
      )
    }
  }
  t.throws(() => hostRing(setup(), new GuestMemory([])), { code: 'VUS_RING_ADDRESS' }, 'no memory at all')
})

t.test('every part has to be aligned as it is mapped', async (t) => {
  const { memory: guest } = memory()
  for (const [part, alignment] of Object.entries({ desc: 16, avail: 2, used: 4 })) {
    // One more than a multiple, as the region is mapped at one less than its user address.
    const good = OTHER + 4096
    t.equal(typeof hostRing(setup({ [part]: good }), guest).desc, 'number', `${part}, aligned here`)
    t.throws(
      () => hostRing(setup({ [part]: good + alignment - 1 }), guest),
      { name: 'DeviceError', code: 'VUS_RING_ALIGNMENT' },
      `${part}, aligned there`,
    )
  }
})

t.test('what is written is logged where there is a log, the used ring if the front end wants that', async (t) => {
  const { memory: guest } = memory()
  const area = { address: 0x1000, length: 64 }
  const flags = VRING_ADDRESS_F.LOG
  t.notOk('log' in hostRing(setup({ flags, logAddress: 0x5000 }), guest), 'no log')
  t.same(hostRing(setup({ logAddress: 0x5000 }), guest, area).log, { area, used: null })
  t.same(hostRing(setup({ flags, logAddress: 0x5000 }), guest, area).log, { area, used: 0x5000 })
  t.same(hostRing(setup({ flags, logAddress: 0 }), guest, area).log, { area, used: 0 }, 'address 0 is one')
  const mapped = Object.assign(Object.create({ unmap: () => {} }), area)
  t.doesNotThrow(() => structuredClone(hostRing(setup(), guest, mapped)), 'it can be sent to an IOThread')
})
