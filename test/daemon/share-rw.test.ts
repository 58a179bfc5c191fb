import t, { type Test } from 'tap'
import { RESPONSE, TMF } from 'vhost-user-protocol-ts'
import { startConfigured } from '../support/configured-daemon.js'
import type { Daemon } from '../support/daemon.js'
import { eventually, within } from '../support/deadline.js'
import { sparseImage } from '../support/image.js'
import { tempDir } from '../support/temp-dir.js'
import { Initiator } from '../support/vhost/initiator.js'

t.setTimeout(240_000)

const PATIENCE = 30_000
const QUEUES = 4
const BLOCK = 512
const DELAY = 2_000_000

/** Two guests: they share LUN 0 (an image) and LUN 1 (holds requests back); the second may not write to LUN 2. */
const daemons = await startConfigured(t, {
  iothreads: [{ id: 'io0' }, { id: 'io1' }],
  luns: [
    { id: 'disk', path: sparseImage(tempDir(t), 'disk.img', 4), 'share-rw': 'on' },
    { id: 'slow', driver: 'null', size: '1G', 'delay-us': DELAY, 'share-rw': true },
    { id: 'mine', driver: 'memory', size: '1M' },
  ],
  controllers: [
    { id: 'a', 'num-queues': QUEUES, luns: places(0) },
    { id: 'b', 'num-queues': QUEUES, luns: places(3) },
  ],
})

function places(target: number) {
  return [
    { id: 'disk', target, lun: 0 },
    { id: 'slow', target, lun: 1 },
    { id: 'mine', target, lun: 2, 'read-only': target !== 0 },
  ]
}

interface Guest {
  readonly initiator: Initiator
  readonly target: number
}

async function connect(t: Test, daemon: Daemon, target: number): Promise<Guest> {
  const initiator = await Initiator.connect(daemon.socketPath, { queues: QUEUES, deadline: PATIENCE })
  t.teardown(() => initiator.close())
  for (const lun of [0, 1, 2]) await initiator.ready(target, lun)
  return { initiator, target }
}

async function guests(t: Test): Promise<readonly [Guest, Guest]> {
  return [await connect(t, daemons[0]!, 0), await connect(t, daemons[1]!, 3)]
}

const transfer = (opcode: number, block: number, blocks: number) => [
  ...[opcode, 0, 0, 0, block >> 8, block & 255, 0, 0, blocks, 0],
]
const pattern = (seed: number, length = BLOCK) =>
  new Uint8Array(length).map((_, i) => Math.imul(i + seed, 0x9e3779b1) >>> 24)

function write({ initiator, target }: Guest, lun: number, block: number, dataOut: Uint8Array, queue = 0) {
  return initiator.scsi({ cdb: transfer(0x2a, block, dataOut.length / BLOCK), target, lun, dataOut }, { queue })
}

function read({ initiator, target }: Guest, lun: number, block: number, queue = 0) {
  return initiator.scsi({ cdb: transfer(0x28, block, 1), target, lun, dataIn: BLOCK }, { queue })
}

/** The sense of TEST UNIT READY: key, ASC, ASCQ; undefined when it is GOOD. */
async function sense({ initiator, target }: Guest, lun: number): Promise<number[] | undefined> {
  const { status, sense } = await initiator.scsi({ cdb: [0, 0, 0, 0, 0, 0], target, lun })
  return status === 0 ? undefined : [sense[2]! & 15, sense[12]!, sense[13]!]
}

/** Reads of LUN 1, which holds them, by both guests on each of their queues, once the daemon has them all. */
async function holdReads(both: readonly Guest[]): Promise<{ answers: () => Promise<number[][]> }> {
  const reads = both.map(({ initiator, target }) =>
    Array.from({ length: QUEUES }, (_, queue) =>
      initiator.submit({ cdb: transfer(0x28, 0, 1), target, lun: 1, dataIn: BLOCK }, { queue }),
    ),
  )
  for (const [i, { initiator, target }] of both.entries()) {
    for (const { tag } of reads[i]!) {
      await eventually(PATIENCE, 'the read in the daemon', async () =>
        (await initiator.tmf(TMF.QUERY_TASK, target, 1, tag)) === RESPONSE.FUNCTION_SUCCEEDED ? true : undefined,
      )
    }
  }
  const responses = (each: (typeof reads)[number]) => Promise.all(each.map(async ({ done }) => (await done).response))
  return { answers: () => within(PATIENCE, 'the answers', Promise.all(reads.map(responses))) }
}

const each = (response: number) => new Array<number>(QUEUES).fill(response)
const GOOD = { response: 0, status: 0 }
const IO = 'vhost_user_scsi_requests_total'

t.test('what one writes, the other reads', async (t) => {
  const [a, b] = await guests(t)
  for (let queue = 0; queue < QUEUES; queue++) {
    const [first, second] = [pattern(queue), pattern(queue + 100)]
    t.match(await write(a, 0, queue, first, queue), GOOD)
    t.same((await read(b, 0, queue, QUEUES - 1 - queue)).data, first, `of queue ${queue}`)
    t.match(await write(b, 0, queue, second, queue), GOOD)
    t.same((await read(a, 0, queue)).data, second, 'and back')
  }
})

t.test('both write at once', async (t) => {
  const both = await guests(t)
  const rounds = 50
  const blocksOf = (guest: number, queue: number) => 64 + (guest * QUEUES + queue) * rounds
  await Promise.all(
    both.flatMap((guest, who) =>
      Array.from({ length: QUEUES }, async (_, queue) => {
        for (let i = 0; i < rounds; i++) {
          const block = blocksOf(who, queue) + i
          t.match(await write(guest, 0, block, pattern(block), queue), GOOD)
        }
      }),
    ),
  )
  let wrong = 0
  for (const [who] of both.entries()) {
    const other = both[1 - who]!
    for (let block = blocksOf(who, 0); block < blocksOf(who, 0) + QUEUES * rounds; block++) {
      if (Buffer.compare((await read(other, 0, block, block % QUEUES)).data, pattern(block)) !== 0) wrong++
    }
  }
  t.equal(wrong, 0, 'blocks that the other does not read as they were written')
})

t.test('an IOThread serves queues of both, and metrics tell them apart', async (t) => {
  const [a, b] = await guests(t)
  const metrics = () => daemons[0]!.metrics()
  const before = await metrics()
  await write(a, 0, 0, pattern(1))
  await write(a, 0, 0, pattern(2))
  await write(b, 0, 0, pattern(3))
  const after = await metrics()
  const grown = (labels: Record<string, string>) => after.sum(IO, labels) - before.sum(IO, labels)
  t.equal(grown({ controller: 'a', lun: 'disk', op: 'write' }), 2)
  t.equal(grown({ controller: 'b', lun: 'disk', op: 'write' }), 1)
  const info = after.select('vhost_user_scsi_queue_info')
  const tids = (controller: string) =>
    new Set(info.filter(({ labels }) => labels.controller === controller).map(({ labels }) => labels.tid))
  t.equal(tids('a').size, 2)
  t.same(tids('a'), tids('b'), 'the same kernel threads')
})

t.test('read-only for one, writable for the other', async (t) => {
  const [a, b] = await guests(t)
  const bytes = pattern(7)
  t.match(await write(a, 2, 0, bytes), GOOD)
  const { status, sense: refused } = await write(b, 2, 0, pattern(8))
  t.same([status, refused[2]! & 15, refused[12]], [2, 7, 0x27], 'DATA PROTECT, WRITE PROTECTED')
  t.same((await read(b, 2, 0)).data, bytes)
  const mode = await b.initiator.scsi({ cdb: [0x1a, 8, 0x3f, 0, 192, 0], target: b.target, lun: 2, dataIn: 192 })
  t.equal(mode.data[2]! & 0x80, 0x80, 'MODE SENSE says so')
})

t.test('LOGICAL UNIT RESET by one ends the commands of both, and both are told', async (t) => {
  const both = await guests(t)
  const [a, b] = both
  const { answers } = await holdReads(both)
  t.equal(await a.initiator.tmf(TMF.LOGICAL_UNIT_RESET, a.target, 1), RESPONSE.OK)
  t.same(await answers(), [each(RESPONSE.RESET), each(RESPONSE.RESET)])
  t.same(
    [await sense(a, 1), await sense(b, 1)],
    [
      [6, 0x29, 3],
      [6, 0x29, 3],
    ],
  )
  t.same([await sense(a, 1), await sense(b, 1), await sense(b, 0)], [undefined, undefined, undefined])
})

t.test('CLEAR TASK SET by one ends the commands of both, and the other is told', async (t) => {
  const both = await guests(t)
  const [a, b] = both
  const { answers } = await holdReads(both)
  t.equal(await b.initiator.tmf(TMF.CLEAR_TASK_SET, b.target, 1), RESPONSE.OK)
  t.same(await answers(), [each(RESPONSE.ABORTED), each(RESPONSE.ABORTED)])
  t.same(await sense(a, 1), [6, 0x2f, 0], 'COMMANDS CLEARED BY ANOTHER INITIATOR')
  t.equal(await sense(b, 1), undefined)
  t.equal(await b.initiator.tmf(TMF.CLEAR_TASK_SET, b.target, 1), RESPONSE.OK)
  t.equal(await sense(a, 1), undefined, 'not when it lost nothing')
})

t.test('I_T NEXUS RESET touches one nexus', async (t) => {
  const both = await guests(t)
  const [a, b] = both
  const { answers } = await holdReads(both)
  t.equal(await a.initiator.tmf(TMF.I_T_NEXUS_RESET, a.target, 0), RESPONSE.OK)
  t.same(await answers(), [each(RESPONSE.RESET), each(RESPONSE.OK)])
  for (const lun of [0, 1, 2]) t.same(await sense(a, lun), [6, 0x29, 7], 'I_T NEXUS LOSS OCCURRED')
  for (const lun of [0, 1, 2]) t.equal(await sense(b, lun), undefined)
})

t.test('a guest that leaves does not disturb the other', async (t) => {
  const [a, b] = await guests(t)
  t.match(await write(a, 0, 9, pattern(9)), GOOD)
  await a.initiator.close()
  t.same((await read(b, 0, 9)).data, pattern(9))
  t.match(await write(b, 0, 9, pattern(10)), GOOD)
  const again = await connect(t, daemons[0]!, 0)
  t.same((await read(again, 0, 9)).data, pattern(10))
  t.equal(await sense(b, 0), undefined)
})

t.test('two daemons share an image, a third that does not is kept out', async (t) => {
  const path = sparseImage(tempDir(t), 'disk.img', 1)
  const start = async (shareRw: string) => {
    const config = {
      luns: [{ id: 'disk', path, 'share-rw': shareRw }],
      controllers: [{ id: 'vm', 'num-queues': 1, luns: [{ id: 'disk', lun: 0 }] }],
    }
    return (await startConfigured(t, config))[0]!
  }
  const enter = async (daemon: Daemon): Promise<Guest> => {
    const initiator = await Initiator.connect(daemon.socketPath, { deadline: PATIENCE })
    t.teardown(() => initiator.close())
    await initiator.ready(0, 0)
    return { initiator, target: 0 }
  }
  const [one, two, selfish] = await Promise.all([start('on'), start('on'), start('off')])
  const [a, b] = [await enter(one), await enter(two)]
  t.match(await write(a, 0, 1, pattern(1)), GOOD)
  t.same((await read(b, 0, 1)).data, pattern(1))
  await t.rejects(enter(selfish))
  t.ok(await selfish.child.output('stderr', /VUS_IMAGE_LOCKED/, PATIENCE), 'the log says why')
  t.match(await write(b, 0, 1, pattern(2)), GOOD)
  t.same((await read(a, 0, 1)).data, pattern(2))
})
