// Random commands against a byte array, on each engine and each medium.
import t from 'tap'
import { within } from '../support/deadline.js'
import {
  FUA,
  read10,
  SAME,
  synchronizeCache10,
  unmap,
  verify10,
  write10,
  writeSame16,
} from '../support/iothreads/cdb.js'
import type { Layout } from '../support/iothreads/chain-layout.js'
import { DiskModel } from '../support/iothreads/disk-model.js'
import { DEADLINE, IoRig, type StartedThread, startThread } from '../support/iothreads/io-rig.js'
import { seeded } from '../support/iothreads/request-with.js'
import { rounds } from '../support/iothreads/rounds.js'
import { MEDIA, testMedium, unitSpec } from '../support/iothreads/units.js'
import { restingBase } from '../support/vhost/ring-driver.js'

const BLOCKS = 12288
const SIZE = BLOCKS * 512
const RING = 1024
const SEED = Number(process.env.VUS_SEED ?? 1)

/** How a request is cut: into few buffers or up to two hundred, at any byte. */
function randomLayout(random: () => number): Layout {
  const below = (limit: number): number => Math.floor(random() * limit)
  const few = (length: number): number[] => Array.from({ length: below(length) }, () => 1 + below(3000))
  const many = (): number[] => Array.from({ length: 1 + below(200) }, () => 1 + below(700))
  switch (below(6)) {
    case 0:
      return {}
    case 1:
      return { out: [51, ...many()], in: [108, ...many()], gaps: [0, 64] }
    case 2:
      return { out: many(), in: many(), gaps: [1, 0, 7] }
    case 3:
      return { out: [1, 2, 48, ...few(5)], in: [50, 57, 1, ...few(5)], gaps: [3] }
    case 4:
      return { out: [1 + below(5000)], in: [1 + below(5000)], gaps: [below(600)] }
    default:
      return { out: [51, ...few(4)], in: [108, ...few(4)] }
  }
}

interface Kind {
  readonly engine: 'io_uring' | 'epoll'
  readonly depth: number
  readonly pollMaxNs: number
  readonly eventIdx: boolean
}

const kinds: Kind[] = [
  { engine: 'io_uring', depth: 64, pollMaxNs: 32768, eventIdx: true },
  { engine: 'io_uring', depth: 1, pollMaxNs: 0, eventIdx: false },
  { engine: 'epoll', depth: 64, pollMaxNs: 0, eventIdx: true },
  { engine: 'epoll', depth: 7, pollMaxNs: 32768, eventIdx: false },
]

/** Keeps `depth` random commands in flight on one queue, on blocks that belong to the queue alone. */
async function load(
  rig: IoRig,
  queue: number,
  model: DiskModel,
  o: { depth: number; count: number; first: number; blocks: number; random: () => number },
): Promise<string[]> {
  const faults: string[] = []
  let left = o.count
  // Each of the requests in flight has a part of the blocks.
  const share = Math.floor(o.blocks / o.depth)
  const worker = async (slot: number): Promise<void> => {
    while (left-- > 0) {
      const blocks = 1 + Math.floor(o.random() ** 3 * Math.min(share, 400))
      const lba = o.first + slot * share + Math.floor(o.random() * (share - blocks + 1))
      const { command, check } = model.command(lba, blocks)
      const layout = randomLayout(o.random)
      const buffers = (layout.out?.length ?? 1) + (layout.in?.length ?? 1) + 2
      const style = buffers > 12 ? 'indirect' : (['direct', 'indirect', 'mixed'] as const)[Math.floor(o.random() * 3)]!
      const fault = check(await rig.submit(queue, command, layout, style))
      if (fault !== '') faults.push(`${command.cdb.toString()}: ${fault}`)
    }
  }
  await Promise.all(Array.from({ length: o.depth }, (_, slot) => worker(slot)))
  return faults
}

for (const { engine, depth, pollMaxNs, eventIdx } of kinds) {
  const name = `${engine}, ${depth} in flight${eventIdx ? '' : ', no EVENT_IDX'}`
  t.test(name, { timeout: 0 }, async (t) => {
    const threads: StartedThread[] = []
    for (const id of ['io0', 'io1']) threads.push(await startThread(t, { id, engine, pollMaxNs }))
    const [one, other] = threads as [StartedThread, StartedThread]
    for (const medium of MEDIA) {
      await t.test(medium, { timeout: 0 }, async (t) => {
        const disk = testMedium(t, medium, SIZE)
        const rig = await IoRig.start(t, {
          units: [unitSpec(disk.medium, { size: SIZE })],
          threads: [one, other, one],
          ringSize: RING,
          indirectEntries: 420,
          eventIdx,
          memory: 2 ** 28,
        })
        const random = seeded(SEED * 1000 + medium.length + depth)
        const model = new DiskModel(SIZE, random)
        const blocks = Math.floor(BLOCKS / rig.queues.length)
        const count = rounds(depth === 1 ? 40 : 100)
        const loads = rig.queues.map((_, i) => load(rig, i, model, { depth, count, first: i * blocks, blocks, random }))
        const faults = await within(rounds(DEADLINE), 'the commands', Promise.all(loads))
        t.strictSame(faults.flat().slice(0, 5), [])
        const content = disk.content()
        const isSame = Buffer.compare(content, model.bytes) === 0
        const different = isSame ? -1 : content.findIndex((byte, i) => byte !== model.bytes[i])
        t.equal(different, -1, `seed ${SEED}: the contents differ from byte ${different} on`)
        let chains = 0
        for (const [i, { driver }] of rig.queues.entries()) {
          t.equal(await rig.stopQueue(i), restingBase(driver))
          chains += driver.deviceUsedIndex
        }
        t.equal(chains % 65536, (3 * count) % 65536)
        t.strictSame(
          threads.flatMap(({ faults, failures }) => [...faults, ...failures]),
          [],
        )
      })
    }
  })
}

for (const delayNs of [0, 2e6]) {
  t.test(`null: everything is good, and nothing is moved, ${delayNs} ns later`, { timeout: 0 }, async (t) => {
    const threads = [await startThread(t), await startThread(t, { id: 'io1', engine: 'epoll' })]
    const units = [unitSpec({ kind: 'null', delayNs }, { size: SIZE })]
    const rig = await IoRig.start(t, { units, threads, ringSize: RING, indirectEntries: 420 })
    const random = seeded(SEED)
    const below = (limit: number): number => Math.floor(random() * limit)
    const worker = async (queue: number): Promise<void> => {
      for (let i = 0; i < rounds(15); i++) {
        const blocks = 1 + below(200)
        const lba = below(BLOCKS - blocks)
        const zeros = new Uint8Array(blocks * 512)
        const command = [
          { cdb: read10(lba, blocks, below(2) * FUA), dataIn: blocks * 512 },
          { cdb: write10(lba, blocks, below(2) * FUA), dataOut: zeros },
          { cdb: writeSame16(lba, blocks, below(2) * SAME.UNMAP), dataOut: zeros.subarray(0, 512).fill(below(2)) },
          { cdb: verify10(lba, blocks) },
          { cdb: synchronizeCache10() },
          unmap([
            [lba, 1],
            [lba, blocks],
          ]),
        ][below(6)]!
        const answer = await rig.submit(queue, command, randomLayout(random), 'indirect')
        if (answer.response !== 0 || answer.status !== 0 || answer.residual !== 0) t.fail(`${command.cdb}`)
        if (answer.data.some((byte) => byte !== 0)) t.fail('data')
      }
    }
    const workers = rig.queues.flatMap((_, queue) => Array.from({ length: 16 }, () => worker(queue)))
    await within(rounds(DEADLINE), 'the commands', Promise.all(workers))
    for (const [i, { driver }] of rig.queues.entries()) {
      t.equal(await rig.stopQueue(i), restingBase(driver))
      t.equal(driver.deviceUsedIndex, (16 * rounds(15)) % 65536)
    }
  })
}
