import t from 'tap'
import { CHAIN, VQ } from 'vhost-user-protocol-ts'
import { Bed, type Faults } from '../../support/hostile/bed.js'
import { naiveFault } from '../../support/hostile/naive-request.js'
import {
  aimAtItself,
  Canaries,
  type RandomRing,
  READ_ONLY,
  REGIONS,
  randomRing,
} from '../../support/hostile/random-ring.js'
import { RawGuest, type RawRing } from '../../support/hostile/raw-guest.js'
import { sparseImage } from '../../support/image.js'
import { times } from '../../support/long.js'
import { Random } from '../../support/random.js'
import type { Teardown } from '../../support/teardown.js'
import { tempDir } from '../../support/temp-dir.js'
import { type Look, naiveChain, type Segment } from '../../support/vhost/naive-chain.js'

t.setTimeout(600_000)

const COUNT = times(2000)
/** VUS_SEED=n begins with another ring, to try one that failed by itself (with VUS_LONG unset it is followed by 1,999 more). */
const FIRST = Number(process.env.VUS_SEED ?? 1)
const RING_SIZE = 64
const TARGETS = [0, 1]

const image = sparseImage(tempDir(t), 'disk.img', 1)
const bed = await Bed.start(t, {
  luns: [
    { target: 1, lun: 0, driver: 'memory', size: '1M' },
    { target: 1, lun: 1, driver: 'null', size: '64M' },
    { target: 1, lun: 2, path: image },
    { target: 1, lun: 3, driver: 'memory', size: '1M', 'read-only': true },
  ],
})

/** What the model says must become of a ring. */
interface Expectation {
  /** Heads that are given back, and the faults that are counted. */
  readonly used: number
  readonly faults: readonly string[]
  readonly broken: boolean
  /** What the device may write, besides the used ring. */
  readonly writable: readonly Segment[]
}

function expectation(guest: RawGuest, ring: RawRing, plan: RandomRing): Expectation {
  const { regions } = guest.memory
  const look: Look = (address, length) => {
    const inside = regions.some(
      (r) => address >= r.guestAddress && address + BigInt(length) <= BigInt(r.guestAddress + r.size),
    )
    return inside ? guest.memory.bytes(Number(address), length).slice() : undefined
  }
  const writable: Segment[] = []
  if (plan.index === VQ.EVENT) return { used: 0, faults: [], broken: false, writable }
  if (((plan.available - plan.base) & 0xffff) > ring.size) {
    return { used: 0, faults: ['VUS_RING_AVAILABLE_INDEX'], broken: true, writable }
  }
  const { desc } = ring
  const table = new DataView(desc.buffer, desc.byteOffset, desc.length)
  const faults: string[] = []
  for (const [used, head] of plan.heads.entries()) {
    const walk = naiveChain(look, table, ring.size, true, head)
    const fault = naiveFault(guest.memory, plan.index, walk, TARGETS)
    if (fault !== undefined) faults.push(fault)
    if (walk.end !== CHAIN.END || fault?.startsWith('VUS_RING_')) return { used, faults, broken: true, writable }
    writable.push(...walk.segments.filter((segment) => segment.writable))
  }
  return { used: plan.heads.length, faults, broken: false, writable }
}

/** Whether some of it is memory that the model must be able to rely on: rings, tables, headers. */
function changesItsOwnRing({ writable }: Expectation): boolean {
  return writable.some(({ address, length }) =>
    READ_ONLY.some(({ guestAddress, size }) => address < guestAddress + size && address + length > guestAddress),
  )
}

/** Memory before a run; `check` says what the device has written that it must not. */
class Snapshot {
  readonly #guest: RawGuest
  readonly #before: Uint8Array[]

  constructor(guest: RawGuest) {
    this.#guest = guest
    this.#before = guest.memory.regions.map(({ buffer }) => new Uint8Array(buffer).slice())
  }

  check(allowed: readonly { readonly address: number; readonly length: number }[]): string | undefined {
    for (const [i, region] of this.#guest.memory.regions.entries()) {
      const now = new Uint8Array(region.buffer)
      const before = this.#before[i]!
      for (const { address, length } of allowed) {
        const from = Math.max(0, address - region.guestAddress)
        const to = Math.min(region.size, address + length - region.guestAddress)
        if (to > from) before.set(now.subarray(from, to), from)
      }
      if (Buffer.compare(before, now) === 0) continue
      const at = now.findIndex((byte, place) => byte !== before[place])
      return `0x${(region.guestAddress + at).toString(16)}`
    }
    return undefined
  }
}

async function connect(t: Teardown): Promise<{ guest: RawGuest; canaries: Canaries }> {
  const guest = await RawGuest.connect(t, bed.daemon.socketPath, { memory: REGIONS, ringSize: RING_SIZE, rings: 4 })
  return { guest, canaries: new Canaries(guest.memory.regions) }
}

/** Runs the ring of a seed. Undefined when it changes itself, so that nobody can say what has to come of it. */
async function run(guest: RawGuest, seed: number): Promise<readonly string[] | undefined> {
  const { ring, plan } = randomRing(guest, new Random(seed))
  const expected = expectation(guest, ring, plan)
  if (changesItsOwnRing(expected)) return undefined
  const snapshot = new Snapshot(guest)
  await ring.start(plan.base)
  ring.show(plan.available)
  const after = (plan.usedIndex + expected.used) & 0xffff
  const outcome = await ring.settled(expected.broken ? undefined : after)
  const base = await ring.stop()
  const check = (what: string, actual: unknown, wanted: unknown): void => {
    if (actual !== wanted) throw new Error(`seed ${seed}, ring ${plan.index}: ${what} ${actual}, not ${wanted}`)
  }
  check('outcome', outcome, expected.broken ? 'broken' : 'used')
  check('used index', ring.usedIndex, after)
  check('stopped at', base, (plan.base + expected.used) & 0xffff)
  // The available index was shown after the snapshot.
  const own = [ring.used, { address: ring.avail.address, length: 4 }]
  check('written outside of all buffers at', snapshot.check([...own, ...expected.writable]), undefined)
  return expected.faults
}

const selfChanging: number[] = []

t.test('random rings end as the model says, and nothing is written outside of their buffers', async (t) => {
  const { guest, canaries } = await connect(t)
  const before = await bed.faults()
  const expected: Record<string, number> = { ...before }
  let ran = 0
  for (let seed = FIRST; ran < COUNT; seed++) {
    const faults = await run(guest, seed)
    if (faults === undefined) {
      selfChanging.push(seed)
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
  t.comment(JSON.stringify(found))
  await guest.close()
})

t.test('random rings that change themselves do no harm', async (t) => {
  const { guest, canaries } = await connect(t)
  const seeds = [...selfChanging, ...Array.from({ length: COUNT / 4 }, (_, i) => FIRST + i)]
  for (const seed of seeds) {
    const random = new Random(seed)
    const { ring, plan } = randomRing(guest, random)
    aimAtItself(guest, ring, random)
    await ring.start(plan.base)
    ring.show(plan.available)
    await ring.stop()
  }
  t.ok(canaries.alive, `nothing was written before the regions by ${seeds.length} rings`)
  await guest.close()
})

t.test('after all that', async (t) => {
  await bed.suffers(t, 'the daemon is as it was', {}, async () => {})
  t.same(await bed.daemon.stop(), { code: 0, signal: null })
})
