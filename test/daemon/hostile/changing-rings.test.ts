import t from 'tap'
import { eventually } from '../../support/deadline.js'
import { Bed } from '../../support/hostile/bed.js'
import { CANARY, Canaries, REGIONS, randomRing, TABLES_RANGE } from '../../support/hostile/random-ring.js'
import { RawGuest } from '../../support/hostile/raw-guest.js'
import { Scribbler } from '../../support/hostile/scribbler.js'
import { sparseImage } from '../../support/image.js'
import { times } from '../../support/long.js'
import { Random } from '../../support/random.js'
import { tempDir } from '../../support/temp-dir.js'

t.setTimeout(600_000)

const bed = await Bed.start(t, {
  luns: [
    { target: 1, lun: 0, driver: 'memory', size: '1M' },
    { target: 1, lun: 1, driver: 'null', size: '64M' },
    { target: 1, lun: 2, path: sparseImage(tempDir(t), 'disk.img', 1) },
  ],
})

t.test('rings that another processor changes while they are read do no harm', async (t) => {
  const guest = await RawGuest.connect(t, bed.daemon.socketPath, { memory: REGIONS, ringSize: 64, rings: 4 })
  const canaries = new Canaries(guest.memory.regions)
  const [rings] = guest.memory.regions
  const place = ({ address, length }: { address: number; length: number }) =>
    [address - rings!.guestAddress + CANARY, length] as const
  const areas = guest.rings.flatMap(({ desc, avail }) => [desc, avail])
  const scribbler = new Scribbler(rings!.fd, [...areas, TABLES_RANGE].map(place))
  t.teardown(() => scribbler.stop())
  await eventually(30_000, 'the other processor', () => (scribbler.writes > 0 ? true : undefined))
  const count = times(500)
  for (let seed = 1; seed <= count; seed++) {
    const { ring, plan } = randomRing(guest, new Random(seed))
    await ring.start(plan.base)
    ring.show(plan.available)
    await guest.frontEnd.barrier()
    await ring.stop()
  }
  t.ok(canaries.alive, `nothing was written before the regions by ${count} rings`)
  await scribbler.stop()
  t.ok(scribbler.writes > count, `${scribbler.writes} changes`)
  await guest.close()
})

t.test('after that', async (t) => {
  await bed.suffers(t, 'the daemon is as it was', {}, async () => {})
  t.same(await bed.daemon.stop(), { code: 0, signal: null })
})
