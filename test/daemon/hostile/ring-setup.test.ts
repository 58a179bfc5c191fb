import { close, createEventfd } from 'memfd-mmap'
import t from 'tap'
import { NackError, type VringAddress } from 'vhost-user-protocol-ts'
import { Bed, NOWHERE, REGIONS, soon, writeAndRead } from '../../support/hostile/bed.js'
import type { Initiator } from '../../support/vhost/initiator.js'

t.setTimeout(240_000)

const bed = await Bed.start(t, { attacks: 30 })

const RING = 2

/** Where the initiator has laid out ring 2. */
function address(initiator: Initiator, overrides: Partial<VringAddress> = {}): VringAddress {
  const { driver } = initiator.queues[RING]!
  return {
    index: RING,
    flags: 0,
    desc: initiator.memory.userAddress(driver.descAddress),
    avail: initiator.memory.userAddress(driver.availAddress),
    used: initiator.memory.userAddress(driver.usedAddress),
    log: 0,
    ...overrides,
  }
}

/** Whether the daemon said no. */
async function refused(answer: Promise<unknown>): Promise<boolean> {
  try {
    await soon('the answer', answer)
    return false
  } catch (error) {
    if (error instanceof NackError) return true
    throw error
  }
}

/** Sets ring 2 up with other addresses, and enables it: whether that is refused. */
async function setUp(initiator: Initiator, other: Partial<VringAddress>, size = 128): Promise<boolean> {
  const { frontEnd, queues } = initiator
  const steps = [
    () => frontEnd.setVringNum(RING, size),
    () => frontEnd.setVringBase(RING, 0),
    () => frontEnd.setVringAddr(address(initiator, other)),
    () => frontEnd.setVringKick(RING, queues[RING]!.kickFd),
    () => frontEnd.setVringEnable(RING, true),
  ]
  for (const step of steps) if (await refused(step())) return true
  return false
}

/** All rings but number 2 run; then something is wrong with number 2, which leaves the others alone, and is put right. */
function attacks(bed: Bed, t: Tap, name: string, code: string, attempt: (initiator: Initiator) => Promise<boolean>) {
  return bed.suffers(t, name, { [code]: 1 }, async (t) => {
    const initiator = await bed.connect(t, { stopped: true })
    await initiator.start([0, 1, 3])
    t.equal(await attempt(initiator), true, 'refused')
    await writeAndRead(initiator, 1, 1)
    await initiator.start([RING])
    await writeAndRead(initiator, 0, 2)
    t.equal(await initiator.tmf(6, 0, 0), 0)
    await initiator.close()
  })
}

type Tap = Parameters<Bed['suffers']>[0]

t.test('ring addresses', async (t) => {
  const outside = 0x1000
  await attacks(bed, t, 'a descriptor table outside memory', 'VUS_RING_ADDRESS', (i) => setUp(i, { desc: outside }))
  await attacks(bed, t, 'an available ring outside memory', 'VUS_RING_ADDRESS', (i) => setUp(i, { avail: outside }))
  await attacks(bed, t, 'a used ring outside memory', 'VUS_RING_ADDRESS', (i) => setUp(i, { used: outside }))
  await attacks(bed, t, 'guest addresses instead of user addresses', 'VUS_RING_ADDRESS', (i) => {
    const { driver } = i.queues[RING]!
    return setUp(i, { desc: driver.descAddress, avail: driver.availAddress, used: driver.usedAddress })
  })
  await attacks(bed, t, 'a table over the end of memory', 'VUS_RING_ADDRESS', (i) =>
    setUp(i, { desc: i.memory.regions[0]!.userAddress + REGIONS[0]!.size - 16 * 127 }),
  )
  await attacks(bed, t, 'a used ring whose last two bytes are outside', 'VUS_RING_ADDRESS', (i) =>
    setUp(i, { used: i.memory.regions[0]!.userAddress + REGIONS[0]!.size - 4 - 8 * 128 }),
  )
  await attacks(bed, t, 'a ring at the highest address', 'VUS_RING_ADDRESS', (i) =>
    setUp(i, { avail: 2 ** 53 - 2 ** 10 }),
  )
  await attacks(bed, t, 'a table that is not aligned', 'VUS_RING_ALIGNMENT', (i) => {
    const { desc } = address(i)
    return setUp(i, { desc: desc + 8 })
  })
  await attacks(bed, t, 'an odd address', 'VUS_RING_ALIGNMENT', (i) => setUp(i, { avail: address(i).avail + 1 }))
})

t.test('rings that cannot be', async (t) => {
  await attacks(bed, t, 'no descriptors', 'VUS_RING_SIZE', (i) => setUp(i, {}, 0))
  await attacks(bed, t, 'a size that is no power of two', 'VUS_RING_SIZE', (i) => setUp(i, {}, 127))
  await attacks(bed, t, 'a size beyond all', 'VUS_RING_SIZE', (i) => setUp(i, {}, 65536))
  await attacks(bed, t, 'a base of more than 16 bits', 'VUS_RING_BASE', ({ frontEnd }) =>
    refused(frontEnd.setVringBase(RING, 65536)),
  )
  await attacks(bed, t, 'a start before there is anything', 'VUS_RING_NOT_CONFIGURED', async ({ frontEnd, queues }) => {
    await frontEnd.setVringEnable(RING, true)
    const no = await refused(frontEnd.setVringKick(RING, queues[RING]!.kickFd))
    await frontEnd.setVringEnable(RING, false)
    return no
  })
  await attacks(bed, t, 'a log that was not negotiated', 'VUS_RING_FLAGS', (i) => setUp(i, { flags: 1 }))
  await attacks(bed, t, 'a change of a ring that runs', 'VUS_RING_RUNNING', async (i) => {
    await i.start([RING])
    const no = await refused(i.frontEnd.setVringNum(RING, 64))
    await i.stop([RING])
    return no
  })
  await bed.suffers(t, 'a region whose user address makes rings lie askew', { VUS_RING_ALIGNMENT: 1 }, async (t) => {
    const askew = { guestAddress: 2 ** 36, size: 2 ** 20, userAddress: 0x6000_0000_0001 }
    const initiator = await bed.connect(t, { memory: [...REGIONS, askew], stopped: true })
    await initiator.start([0, 1, 3])
    // Aligned as the front end sees it, not as it is mapped.
    t.equal(await setUp(initiator, { used: askew.userAddress + 0xf }), true, 'refused')
    await writeAndRead(initiator, 1, 3)
    await initiator.close()
  })
})

t.test('eventfds', async (t) => {
  await bed.suffers(t, 'one for all purposes', {}, async (t) => {
    // The daemon wakes itself with whatever it signals, and the initiator takes both for its own.
    const initiator = await bed.connect(t, { stopped: true })
    await initiator.start([0, 1, 3])
    const { frontEnd } = initiator
    const { kickFd } = initiator.queues[RING]!
    await frontEnd.setVringErr(RING, kickFd)
    await initiator.start([RING])
    for (let i = 0; i < 20; i++) await writeAndRead(initiator, 0, i)
    await initiator.close()
  })
  await bed.suffers(t, 'a call counter that is full', {}, async (t) => {
    const initiator = await bed.connect(t)
    await initiator.ready(0, 0)
    const full = createEventfd(0xffffffff)
    t.teardown(() => close(full))
    for (const index of [0, RING]) await initiator.frontEnd.setVringCall(index, full)
    const { done, queue } = initiator.submit({ cdb: new Uint8Array(6) })
    // Nobody hears the interrupt: the initiator looks for itself.
    const collect = setInterval(() => queue.collect(), 5)
    t.teardown(() => clearInterval(collect))
    t.equal((await soon('the answer', done)).status, 0)
    clearInterval(collect)
    await initiator.close()
  })
  await bed.suffers(t, 'no descriptors at all', {}, async (t) => {
    const initiator = await bed.connect(t, { stopped: true })
    await initiator.start([0, 1, 3])
    await initiator.setUpRing(RING)
    await initiator.frontEnd.setVringKick(RING, -1)
    await initiator.frontEnd.setVringCall(RING, -1)
    await initiator.frontEnd.setVringErr(RING, -1)
    await initiator.frontEnd.setVringEnable(RING, true)
    const { done, queue } = initiator.submit({ cdb: new Uint8Array(6) })
    const collect = setInterval(() => queue.collect(), 5)
    t.teardown(() => clearInterval(collect))
    t.equal((await soon('the answer of a ring that is polled', done)).response, 0)
    clearInterval(collect)
    await initiator.close()
  })
  await bed.suffers(
    t,
    'a descriptor that points nowhere, in a ring without an error descriptor',
    { VUS_REQUEST_HEADER_ADDRESS: 1 },
    async (t) => {
      const initiator = await bed.connect(t)
      await initiator.frontEnd.setVringErr(RING, -1)
      const queue = initiator.request(0)
      const { done } = queue.add([{ address: NOWHERE, length: 51, writable: false }])
      queue.publish()
      t.equal(await soon('the chain to be given back', done), 0)
      await initiator.close()
    },
  )
})
