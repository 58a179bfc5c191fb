import t from 'tap'
import { VQ } from 'vhost-user-protocol-ts'
import { eventually } from '../deadline.js'
import { Scribbler } from '../hostile/scribbler.js'
import { times } from '../long.js'
import { FuzzBed, PATIENCE } from './fuzz-bed.js'
import { CANARY, MAX_RINGS, PLACE, TABLE_BYTES, TABLES_PER_RING } from './fuzz-memory.js'
import { keptSeeds, ONLY } from './kept-seeds.js'
import { RingFuzz } from './ring-fuzz.js'

/** Of the two kinds of rings together 5,000,000 in a long run. */
const REQUESTS = times(125_000)
/** Of these, with rings that somebody else changes while they are read. */
const SCRIBBLED = REQUESTS / 20

/** Batches with the same connection, and between two looks at how many requests there were. */
const BATCHES_PER_CONNECTION = 64
const KIB = 2 ** 10

interface Tally {
  batches: number
  connections: number
  requests: number
}

function named(seed: number, error: Error): Error {
  error.message = `VUS_SEED=${seed}: ${error.message}`
  return error
}

/** The tests of rings of one kind. */
export function fuzzRings(packed: boolean): void {
  t.setTimeout(0)
  const seeds = keptSeeds(packed ? 'packed-rings' : 'rings').map(({ seed }) => seed)

  t.test(`${packed ? 'packed' : 'split'} rings of any content`, async (t) => {
    const bed = await FuzzBed.start(t)
    const fuzz = new RingFuzz(bed, packed)
    const began = performance.now()

    /** Runs seeds from `first` on until the daemon has served so many requests more. */
    const runFrom = async (first: number, wanted: number, meanwhile: boolean): Promise<Tally> => {
      const before = await bed.requests()
      const tally: Tally = { batches: 0, connections: 0, requests: 0 }
      for (let seed = first; tally.requests < wanted; tally.connections++) {
        await fuzz.connect(seed)
        for (let i = 0; i < BATCHES_PER_CONNECTION; i++) {
          await fuzz.run(seed, meanwhile).catch((error) => {
            throw named(seed, error)
          })
          seed++
          tally.batches++
        }
        if (!fuzz.memory.canariesLive) throw new Error(`written outside of the regions before VUS_SEED=${seed}`)
        tally.requests = (await bed.requests()) - before
        if (tally.connections === 0) bed.warm()
      }
      await fuzz.disconnect()
      await bed.serves()
      return tally
    }
    const told = ({ batches, connections, requests }: Tally): string =>
      `${requests} requests in ${batches} batches on ${connections} connections, ${Math.round(performance.now() - began)} ms`

    for (const seed of ONLY === undefined ? seeds : [ONLY]) {
      // Its connection is that of the first seed of its group.
      await fuzz.connect(seed - ((seed - 1) % BATCHES_PER_CONNECTION))
      await fuzz.run(seed)
    }
    await fuzz.disconnect()
    if (ONLY === undefined) {
      t.pass(`${told(await runFrom(1, REQUESTS - SCRIBBLED, false))}`)
      const [rings] = fuzz.memory.regions
      const place = (address: number, length: number) => [address - PLACE.RINGS + CANARY, length] as const
      const tables = TABLE_BYTES * TABLES_PER_RING * MAX_RINGS
      const scribbler = new Scribbler(rings!.fd, [
        // Of one ring what is available, but not how much: that would end it too soon.
        place(PLACE.RINGS + 4 * KIB * VQ.REQUEST + 4, 512),
        place(PLACE.DESCRIPTORS, 4 * KIB * MAX_RINGS),
        place(PLACE.TABLES, tables),
        place(PLACE.HEADERS, PLACE.LONG_TABLE - PLACE.HEADERS),
      ])
      t.teardown(() => scribbler.stop())
      await eventually(PATIENCE, 'the other processor', () => (scribbler.writes > 0 ? true : undefined))
      const tally = await runFrom(1, SCRIBBLED, true)
      await scribbler.stop()
      t.ok(scribbler.writes > 0, `while others write: ${told(tally)}, ${scribbler.writes >>> 0} changes`)
    }
    t.ok(fuzz.memory.canariesLive, 'nothing was written outside of the regions')
    await fuzz.close()
    await bed.finish(t)
  })
}
