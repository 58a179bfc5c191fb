import '../../support/packed-rings.js'
import t from 'tap'
import { CHAIN, hasFeature, packedPosition, settledPackedBase, VIRTIO_F, VQ } from 'vhost-user-protocol-ts'
import { eventually } from '../../support/deadline.js'
import { Bed, type Faults, PATIENCE } from '../../support/hostile/bed.js'
import { naiveFault } from '../../support/hostile/naive-request.js'
import { type PackedPlan, packedChains, packRing } from '../../support/hostile/packed-ring.js'
import {
  aimAtItself,
  CANARY,
  Canaries,
  READ_ONLY,
  REGIONS,
  randomRing,
  TABLES_RANGE,
} from '../../support/hostile/random-ring.js'
import { RawGuest, type RawRing } from '../../support/hostile/raw-guest.js'
import { Scribbler } from '../../support/hostile/scribbler.js'
import { sparseImage } from '../../support/image.js'
import { times } from '../../support/long.js'
import { Random } from '../../support/random.js'
import type { Teardown } from '../../support/teardown.js'
import { tempDir } from '../../support/temp-dir.js'
import type { Look, Segment } from '../../support/vhost/naive-chain.js'

t.setTimeout(600_000)

const COUNT = times(1000)
const FIRST = Number(process.env.VUS_SEED ?? 1)
const RING_SIZE = 64
const TARGETS = [0, 1]

const bed = await Bed.start(t, {
  luns: [
    { target: 1, lun: 0, driver: 'memory', size: '1M' },
    { target: 1, lun: 1, driver: 'null', size: '64M' },
    { target: 1, lun: 2, path: sparseImage(tempDir(t), 'disk.img', 1) },
    { target: 1, lun: 3, driver: 'memory', size: '1M', 'read-only': true },
  ],
})

async function connect(t: Teardown): Promise<{ guest: RawGuest; canaries: Canaries }> {
  const guest = await RawGuest.connect(t, bed.daemon.socketPath, { memory: REGIONS, ringSize: RING_SIZE, rings: 4 })
  if (!hasFeature(guest.negotiated.features, VIRTIO_F.RING_PACKED)) throw new Error('RING_PACKED is not offered')
  return { guest, canaries: new Canaries(guest.memory.regions) }
}

/** What the model says must become of a ring. */
interface Expectation {
  readonly faults: readonly string[]
  readonly broken: boolean
  /** Descriptors of the ring that are used. */
  readonly used: number
  readonly writable: readonly Segment[]
}

/** Undefined: nobody can say. */
function expectation(guest: RawGuest, ring: RawRing, plan: PackedPlan): Expectation | undefined {
  const { regions } = guest.memory
  const look: Look = (address, length) => {
    const inside = regions.some(
      (r) => address >= r.guestAddress && address + BigInt(length) <= BigInt(r.guestAddress + r.size),
    )
    return inside ? guest.memory.bytes(Number(address), length).slice() : undefined
  }
  const writable: Segment[] = []
  const faults: string[] = []
  if (ring.index === VQ.EVENT) return { faults, broken: false, used: 0, writable }
  const walks = packedChains(look, ring, plan)
  if (walks === undefined) return undefined
  let used = 0
  for (const walk of walks) {
    const fault = naiveFault(guest.memory, ring.index, walk, TARGETS)
    if (fault !== undefined) faults.push(fault)
    if (walk.end !== CHAIN.END || fault?.startsWith('VUS_RING_')) return { faults, broken: true, used, writable }
    used += walk.count!
    writable.push(...walk.segments.filter((segment) => segment.writable))
  }
  return { faults, broken: false, used, writable }
}

function changesItsOwnRing({ writable }: Expectation): boolean {
  return writable.some(({ address, length }) =>
    READ_ONLY.some(({ guestAddress, size }) => address < guestAddress + size && address + length > guestAddress),
  )
}

/** Copies of memory, with what the device may write made the same as now. */
function strayWrite(guest: RawGuest, before: readonly Uint8Array[], allowed: readonly Omit<Segment, 'writable'>[]) {
  for (const [i, region] of guest.memory.regions.entries()) {
    const now = new Uint8Array(region.buffer)
    const then = before[i]!
    for (const { address, length } of allowed) {
      const from = Math.max(0, address - region.guestAddress)
      const to = Math.min(region.size, address + length - region.guestAddress)
      if (to > from) then.set(now.subarray(from, to), from)
    }
    if (Buffer.compare(then, now) !== 0) {
      return `0x${(region.guestAddress + now.findIndex((byte, at) => byte !== then[at])).toString(16)}`
    }
  }
  return undefined
}

async function run(guest: RawGuest, seed: number): Promise<readonly string[] | undefined> {
  const random = new Random(seed)
  const { ring } = randomRing(guest, random)
  const plan = packRing(guest, ring, random)
  const expected = expectation(guest, ring, plan)
  if (expected === undefined || changesItsOwnRing(expected)) return undefined
  const before = guest.memory.regions.map(({ buffer }) => new Uint8Array(buffer).slice())
  const check = (what: string, actual: unknown, wanted: unknown): void => {
    if (actual !== wanted) throw new Error(`seed ${seed}, ring ${ring.index}: ${what} ${actual}, not ${wanted}`)
  }
  const end = plan.index + expected.used
  const lap = end < ring.size ? plan.wrap : plan.wrap ^ 1
  const wanted = settledPackedBase(packedPosition(end % ring.size, lap))
  let base = plan.base
  if (expected.broken) {
    await ring.start(base)
    check('outcome', await ring.settled(undefined), 'broken')
    base = await ring.stop()
  } else {
    // A stop may come before anything was fetched: it goes on where it stood.
    base = await eventually(PATIENCE, `seed ${seed}, ring ${ring.index}: base 0x${wanted.toString(16)}`, async () => {
      await ring.start(base)
      base = await ring.stop()
      return base === wanted ? base : undefined
    })
  }
  check('stopped at', base, wanted)
  const own = [ring.desc, { address: ring.used.address, length: 4 }]
  check('written outside of all buffers at', strayWrite(guest, before, [...own, ...expected.writable]), undefined)
  return expected.faults
}

const uncertain: number[] = []

t.test('random packed rings end as the model says, and nothing is written outside of their buffers', async (t) => {
  const { guest, canaries } = await connect(t)
  const expected: Record<string, number> = { ...(await bed.faults()) }
  let ran = 0
  for (let seed = FIRST; ran < COUNT; seed++) {
    const faults = await run(guest, seed)
    if (faults === undefined) {
      uncertain.push(seed)
      continue
    }
    ran++
    for (const fault of faults) expected[fault] = (expected[fault] ?? 0) + 1
  }
  t.ok(canaries.alive, 'nothing was written before the regions')
  const found: Faults = await bed.faults()
  t.same(found, expected, 'every fault was counted, by its code')
  const metrics = await bed.daemon.metrics()
  for (const op of ['read', 'write', 'other']) {
    const requests = metrics.sum('vhost_user_scsi_requests_total', { op })
    t.ok(requests > 20, `${requests} requests of kind ${op} were good`)
  }
  t.comment(`${uncertain.length} of which nobody can say; ${JSON.stringify(found)}`)
  await guest.close()
})

t.test('random packed rings that change themselves, or are too full, do no harm', async (t) => {
  const { guest, canaries } = await connect(t)
  const seeds = [...uncertain, ...Array.from({ length: COUNT / 4 }, (_, i) => FIRST + i)]
  for (const seed of seeds) {
    const random = new Random(seed)
    const { ring } = randomRing(guest, random)
    aimAtItself(guest, ring, random)
    const { base } = packRing(guest, ring, random)
    await ring.start(base)
    await guest.frontEnd.barrier()
    await ring.stop()
  }
  t.ok(canaries.alive, `nothing was written before the regions by ${seeds.length} rings`)
  await guest.close()
})

t.test('packed rings that another processor changes while they are read do no harm', async (t) => {
  const { guest, canaries } = await connect(t)
  const [rings] = guest.memory.regions
  const place = ({ address, length }: { address: number; length: number }) =>
    [address - rings!.guestAddress + CANARY, length] as const
  const areas = guest.rings.flatMap(({ desc, avail, used }) => [desc, avail, { ...used, length: 4 }])
  const scribbler = new Scribbler(rings!.fd, [...areas, TABLES_RANGE].map(place))
  t.teardown(() => scribbler.stop())
  await eventually(PATIENCE, 'the other processor', () => (scribbler.writes > 0 ? true : undefined))
  const count = times(500)
  for (let seed = 1; seed <= count; seed++) {
    const random = new Random(seed)
    const { ring } = randomRing(guest, random)
    const { base } = packRing(guest, ring, random)
    await ring.start(base)
    await guest.frontEnd.barrier()
    await ring.stop()
  }
  t.ok(canaries.alive, `nothing was written before the regions by ${count} rings`)
  await scribbler.stop()
  t.ok(scribbler.writes > count, `${scribbler.writes} changes`)
  await guest.close()
})

t.test('bases that no ring has are refused', async (t) => {
  const guest = await RawGuest.connect(t, bed.daemon.socketPath, { memory: REGIONS, ringSize: RING_SIZE, rings: 4 })
  const ring = guest.ring(VQ.REQUEST)
  ring.clear()
  for (const base of [RING_SIZE, 0x8000 | RING_SIZE, 0x7fff, 0xffff]) {
    await t.rejects(ring.start(base), { code: 'VUS_NACK' }, `0x${base.toString(16)}`)
    t.equal(await ring.stop(), base, 'as it was set')
  }
  // A front end that goes on and on is told of once.
  t.equal((await bed.faults()).VUS_RING_BASE, 1)
  for (const base of [0, 0x8000, 0x8000 | (RING_SIZE - 1)]) {
    await ring.start(base)
    t.equal(await ring.stop(), settledPackedBase(base))
  }
  await guest.close()
})

t.test('after all that', async (t) => {
  await bed.suffers(t, 'the daemon is as it was', {}, async () => {})
  t.same(await bed.daemon.stop(), { code: 0, signal: null })
})
