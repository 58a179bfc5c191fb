// COMPARE AND WRITE, ORWRITE and WRITE ATOMIC of two guests on eight queues and several IOThreads, amid each other and other writes.
import t, { type Test } from 'tap'
import { type AtomicGuest, atomicGuests, BLOCK, countersOf, Incrementer } from '../support/atomic-guests.js'
import { startConfigured } from '../support/configured-daemon.js'
import type { Daemon } from '../support/daemon.js'
import { sparseImage } from '../support/image.js'
import { times } from '../support/long.js'
import { Random } from '../support/random.js'
import { Repetition } from '../support/repetition.js'
import { tempDir } from '../support/temp-dir.js'

t.setTimeout(times(1) > 1 ? 3_600_000 : 240_000)

const PATIENCE = 60_000
const QUEUES = 4
const IOTHREADS = 4
/** Successful increments altogether; VUS_LONG=200 makes a million of them. */
const INCREMENTS = times(5000)
const RACES = times(300)
const ROUNDS = times(20)

/** A block of its own for each test, all in one stripe of the gate, and one far away in the same. */
const LBA = { COUNTERS: 8, NEIGHBOUR: 9, RACE: 16, BITS: 24, OR_RACE: 25, FAR: 32 * 2048 + 8 } as const
/** Atomic writes: across the border of two stripes. */
const ATOMIC = { LBA: 2048 - 50, BLOCKS: 128 } as const

type Medium = 'memory' | 'file'

async function start(t: Test, medium: Medium): Promise<AtomicGuest[]> {
  const place =
    medium === 'memory' ? { driver: 'memory', size: '64M' } : { path: sparseImage(tempDir(t), 'disk.img', 64) }
  const iothreads = Array.from({ length: IOTHREADS }, (_, i) => ({ id: `io${i}` }))
  const daemons: Daemon[] = await startConfigured(t, {
    iothreads,
    luns: [{ id: 'disk', ...place, 'share-rw': true }],
    controllers: ['a', 'b'].map((id) => ({ id, 'num-queues': QUEUES, luns: [{ id: 'disk', target: 0, lun: 0 }] })),
  })
  const sockets = daemons.map(({ socketPath }) => socketPath)
  return atomicGuests(t, sockets, { queues: QUEUES, deadline: PATIENCE })
}

const filled = (byte: number, blocks = 1): Uint8Array => new Uint8Array(blocks * BLOCK).fill(byte)

/** Other writes by each guest, to blocks beside those of a test, in the same stripe. */
function disturb(guests: readonly AtomicGuest[], random: Random): Repetition[] {
  return [guests[0]!, guests.at(-1)!].map(
    (guest, i) =>
      new Repetition(async () => {
        const block = filled(random.below(256))
        const lba = random.once(2) ? LBA.NEIGHBOUR + 2 * i : LBA.FAR + i
        await guest.write(lba, block)
        const back = await guest.read(lba)
        if (Buffer.compare(back, block) !== 0) throw new Error('a write beside is not what is read')
      }),
  )
}

for (const medium of ['memory', 'file'] as const) {
  t.test(`on a ${medium} LUN`, async (t) => {
    const guests = await start(t, medium)
    const random = new Random(7)

    await t.test('no increment of a counter through COMPARE AND WRITE is lost', async (t) => {
      const others = disturb(guests, random)
      const incrementers = guests.map((guest, i) => new Incrementer(guest, LBA.COUNTERS, i))
      const sum = (of: 'successes' | 'attempts'): number => incrementers.reduce((total, each) => total + each[of], 0)
      const from = performance.now()
      await Promise.all(
        incrementers.map(async (each) => {
          while (sum('successes') < INCREMENTS) await each.attempt()
        }),
      )
      const seconds = (performance.now() - from) / 1000
      for (const each of others) await each.stop()
      const counters = countersOf(await guests[0]!.read(LBA.COUNTERS))
      t.equal(counters[0], sum('successes'))
      t.same(
        [...counters.subarray(1, 1 + guests.length)],
        incrementers.map(({ successes }) => successes),
      )
      t.ok(
        incrementers.every(({ successes }) => successes > 0),
        'nobody is left out',
      )
      t.ok(sum('attempts') > sum('successes'), 'they met')
      t.ok(others.every(({ count }) => count > 0))
      t.comment(
        `${sum('successes')} increments by ${sum('attempts')} commands in ${seconds.toFixed(1)} s, ` +
          `${others.reduce((total, { count }) => total + count, 0)} other writes`,
      )
    })

    await t.test('no WRITE is lost between the halves of a COMPARE AND WRITE', async (t) => {
      let before = 0
      let won = 0
      await guests[0]!.write(LBA.RACE, filled(before))
      for (let race = 0; race < RACES; race++) {
        const [one, other] = [random.below(guests.length), random.below(guests.length)]
        const after = (before + 1) % 128
        // Never what is there already.
        const written = 128 + ((before + 1 + random.below(127)) % 128)
        const writing = () => guests[other]!.write(LBA.RACE, filled(written))
        const comparing = () => guests[one]!.compares(LBA.RACE, filled(before), filled(after))
        let compared = false
        if (random.once(2)) [compared] = await Promise.all([comparing(), writing()])
        else [, compared] = await Promise.all([writing(), comparing()])
        if (compared) won++
        // Before the WRITE it is overwritten; after it nothing compares.
        const block = await guests[race % guests.length]!.read(LBA.RACE)
        if (block.some((byte) => byte !== written)) throw new Error(`${block[0]}, not ${written}: race ${race}`)
        before = written
      }
      t.ok(won > 0 && won < RACES, `${won} of ${RACES} compared before the write`)
    })

    await t.test('no bit of an ORWRITE is lost', async (t) => {
      for (let round = 0; round < ROUNDS; round++) {
        await guests[0]!.write(LBA.BITS, filled(0))
        const others = disturb(guests, random)
        await Promise.all(
          guests.map(async (guest, own) => {
            for (let bit = 0; bit < 32; bit++) {
              const block = filled(0)
              // Bits of the same bytes are set by all of them.
              block[bit] = 1 << own
              block[511 - bit] = 0x80 >>> own
              await guest.orWrite(LBA.BITS, block)
            }
          }),
        )
        for (const each of others) await each.stop()
        const expected = filled(0)
        expected.fill(0xff, 0, 32).fill(0xff, 480)
        t.equal(Buffer.compare(await guests[round % guests.length]!.read(LBA.BITS), expected), 0)
      }
    })

    await t.test('nor is a WRITE beside one', async (t) => {
      let kept = 0
      for (let race = 0; race < RACES; race++) {
        await guests[0]!.write(LBA.OR_RACE, filled(0))
        const [one, other] = [guests[race % guests.length]!, guests[random.below(guests.length)]!]
        await Promise.all([one.orWrite(LBA.OR_RACE, filled(0x0f)), other.write(LBA.OR_RACE, filled(0xa0))])
        const block = await other.read(LBA.OR_RACE)
        if (block.some((byte) => byte !== block[0])) throw new Error('a mix')
        if (block[0] !== 0xa0 && block[0] !== 0xaf) throw new Error(`${block[0]} in race ${race}`)
        if (block[0] === 0xaf) kept++
      }
      t.ok(kept < RACES, `${kept} of ${RACES} came after the write`)
    })

    if (medium === 'file') return
    await t.test('readers see all of a WRITE ATOMIC, or nothing', async (t) => {
      await guests[0]!.writeAtomic(ATOMIC.LBA, filled(1, ATOMIC.BLOCKS))
      let stop = false
      const [writers, readers] = [guests.filter((_, i) => i % 2 === 0), guests.filter((_, i) => i % 2 === 1)]
      const seen = new Set<number>()
      const reading = readers.map(async (reader) => {
        let reads = 0
        for (; !stop; reads++) {
          const data = await reader.read(ATOMIC.LBA, ATOMIC.BLOCKS)
          if (data.some((byte) => byte !== data[0])) throw new Error('a mix of two writes')
          seen.add(data[0]!)
        }
        return reads
      })
      await Promise.all(
        writers.map(async (writer, own) => {
          for (let i = 0; i < 10 * ROUNDS; i++)
            await writer.writeAtomic(ATOMIC.LBA, filled(4 * (i % 60) + own, ATOMIC.BLOCKS))
        }),
      )
      stop = true
      const reads = await Promise.all(reading)
      t.ok(reads.every((count) => count > 0) && seen.size > 10, `${seen.size} different contents in ${reads} reads`)
    })
  })
}
