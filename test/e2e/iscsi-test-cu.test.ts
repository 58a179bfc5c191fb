import t from 'tap'
import { startConfigured } from '../support/configured-daemon.js'
import {
  compare,
  HEADING,
  namesOf,
  readImpossibilities,
  readPasses,
  row,
  writePasses,
} from '../support/guest/expectations.js'
import { type Guest, startGuest } from '../support/guest/guest.js'
import { invocations, listTests, PROGRAMS, runTests } from '../support/guest/iscsi-test-cu.js'
import { guestTest } from '../support/guest/requirements.js'
import { sparseImage } from '../support/image.js'
import { tempDir } from '../support/temp-dir.js'

t.setTimeout(900_000)

/**
 * The kinds of disk. Where a unit has 65,536 blocks the tool reads them all with one command, which is more than a guest's kernel
 * passes on: no disk here is that large.
 */
const MEBIBYTES = 24
const MEBIBYTES_OF_4096 = 128

/** What most tests need that not every disk has: two ways to it, physical blocks of several blocks, a medium that can go. */
const ALL_THERE_IS = { 'share-rw': true, 'physical-block-size': 4096, removable: true } as const

/** With VUS_EXPECT=write the expectation files are written anew. */
const WRITES = process.env.VUS_EXPECT === 'write'

/** The generic SCSI device of a LUN of a host. */
const generic = async (guest: Guest, host: number, lun: number): Promise<string> =>
  `/dev/${(await guest.check(`ls /sys/class/scsi_device/${host}:0:0:${lun}/device/scsi_generic`)).trim()}`

/** Where the disk that sdX is has become offline, or a command of the kernel's has failed, dmesg says so. */
const TROUBLE = /offline|I\/O error|timing out|reset failed|Call Trace/i

const { everywhere, variants } = readImpossibilities()

t.test('iscsi-test-cu in a guest', guestTest(PROGRAMS), async (t) => {
  const directory = tempDir(t)
  const image = (name: string): string => sparseImage(directory, `${name}.img`, MEBIBYTES)
  const luns = [
    { id: 'memory', driver: 'memory', size: `${MEBIBYTES}M`, ...ALL_THERE_IS },
    { id: 'file', path: image('file'), ...ALL_THERE_IS },
    { id: 'fixed', driver: 'memory', size: `${MEBIBYTES}M` },
    { id: 'blocks-4096', driver: 'memory', size: `${MEBIBYTES_OF_4096}M`, 'block-size': 4096 },
    { id: 'read-only', path: image('read-only'), 'read-only': true, 'physical-block-size': 4096 },
  ]
  t.same(
    Object.keys(variants),
    luns.map(({ id }) => id),
    'every kind of disk has its expectations',
  )
  const ways = [luns, luns.slice(0, 2)]
  const daemons = await startConfigured(t, {
    luns,
    controllers: ways.map((luns, way) => ({
      id: `way${way}`,
      'num-queues': 2,
      luns: luns.map(({ id }, lun) => ({ id, target: 0, lun })),
    })),
  })
  const guest = await startGuest(t, {
    devices: daemons.flatMap(({ socketPath }, way) => [
      ...['-chardev', `socket,id=vhost${way},path=${socketPath}`],
      ...['-device', `vhost-user-scsi-pci,id=scsi${way},chardev=vhost${way},num_queues=2`],
    ]),
    programs: PROGRAMS,
    report: () => daemons[0]!.child.report(),
  })

  const uncounted = namesOf(everywhere)
  const names = await listTests(guest)
  t.same(
    [...uncounted].filter((name) => !names.includes(name)),
    [],
    'what cannot pass is a test',
  )
  // Whatever crashes the tool would take the tests behind it along.
  const crashing = namesOf(everywhere.filter(({ why }) => why.includes('crash')))
  // MultipathIO.CompareAndWrite writes zeros to 256 blocks and takes the 257th for zeros too: it comes first.
  const runs = invocations(names, crashing).sort((a, b) => Number(b === 'MultipathIO') - Number(a === 'MultipathIO'))
  const rows: string[] = []

  for (const [lun, { id }] of luns.entries()) {
    await t.test(id, async (t) => {
      const nodes = await Promise.all(
        ways.flatMap((luns, way) => (luns[lun] === undefined ? [] : [generic(guest, way, lun)])),
      )
      const start = performance.now()
      const results = (await runTests(guest, nodes, runs)).filter(({ name }) => !uncounted.has(name))
      const seconds = (performance.now() - start) / 1000
      if (WRITES) writePasses(id, results)

      const impossible = variants[id]!
      const { broken, added, possible } = compare(results, readPasses(id), impossible)
      t.same(broken, [], 'what passed still passes')
      if (possible.length > 0) t.comment(`possible after all: ${possible.join(' ')}`)
      if (added.length > 0) t.comment(`to be added to the expectations, VUS_EXPECT=write does it: ${added.join(' ')}`)
      const cannot = namesOf(impossible)
      for (const { name, outcome, reasons } of results) {
        if (outcome !== 'pass' && !cannot.has(name)) t.comment(`${name}: ${outcome}, ${reasons.slice(0, 3).join('; ')}`)
      }
      t.equal(results.length, names.length - uncounted.size, 'every test has run')
      rows.push(row(id, results, [seconds.toFixed(1)]))
      t.notMatch(await guest.check('dmesg'), TROUBLE)
    })
  }

  t.comment([HEADING, ...rows].join('\n'))
  await guest.powerOff()
  t.same(await daemons[0]!.stop(), { code: 0, signal: null })
})
