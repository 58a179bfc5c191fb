import { constants, readFileSync, writeFileSync } from 'node:fs'
import { close, createEventfd, ERRNO, openFd } from 'memfd-mmap'
import t, { type Test } from 'tap'
import { EVENT_TYPE, RESPONSE, TMF } from 'vhost-user-protocol-ts'
import type { Lun, LunNexus } from '../../daemon/lun.js'
import { performEffect } from '../../daemon/unit-effects.js'
import type { PerformedEffect } from '../../daemon/unit-executor.js'
import { CANCEL, type Command, type Medium } from '../../iothreads/index.js'
import { FLAG, SENSE, STATUS, UnitState } from '../../scsi/index.js'
import { copyList, naaUnit, segment } from '../scsi/support/copy-list.js'
import { bytes } from '../scsi/support/hex.js'
import { ControllerBed } from '../support/controller-bed.js'
import { startDaemon } from '../support/daemon.js'
import { eventually } from '../support/deadline.js'
import { sparseImage } from '../support/image.js'
import { tempDir } from '../support/temp-dir.js'
import { Initiator } from '../support/vhost/initiator.js'
import type { ScsiResult } from '../support/vhost/scsi-request.js'

t.setTimeout(240_000)

const MIB = 2 ** 20
const SIZE = 16 * MIB
const BLOCKS = SIZE / 512
const PATIENCE = 60_000
const WWN = ['3000000000000001', '3000000000000002', '3000000000000003', '3000000000000004'] as const
const FILE = 0
const OTHER = 1
const MEMORY = 2
const NULL = 3

/** Two files, some memory, and a null disk. */
async function bench(t: Test) {
  const dir = tempDir(t)
  const paths = ['a.img', 'b.img'].map((name) => sparseImage(dir, name, SIZE / MIB))
  const bed = await ControllerBed.start(t, {
    luns: [
      ...paths.map((path, i) => ({ driver: 'file' as const, path, size: SIZE, wwn: WWN[i]! })),
      { size: SIZE, wwn: WWN[MEMORY] },
      { driver: 'null', size: SIZE, wwn: WWN[NULL] },
    ],
  })
  const { initiator } = await bed.connect(t)
  for (let lun = 0; lun < 4; lun++) await initiator.ready(0, lun)
  return { initiator, paths, bed }
}

function copyCommand(lun: number, list: Uint8Array): { cdb: Uint8Array; dataOut: Uint8Array; lun: number } {
  const cdb = bytes('83 00*15')
  new DataView(cdb.buffer).setUint32(10, list.length)
  return { cdb, dataOut: list, lun }
}

/** All that a LUN holds, by READ(16). */
async function content(initiator: Initiator, lun: number): Promise<Buffer> {
  const pieces: Uint8Array[] = []
  for (let block = 0; block < BLOCKS; block += 8192) {
    const cdb = bytes('88 00*15')
    const view = new DataView(cdb.buffer)
    view.setUint32(6, block)
    view.setUint32(10, 8192)
    pieces.push((await initiator.scsi({ cdb, lun, dataIn: 8192 * 512 })).data)
  }
  return Buffer.concat(pieces)
}

const senseCode = ({ sense }: ScsiResult): number => (sense[2]! << 16) | (sense[12]! << 8) | sense[13]!

/** Numbers that tell each place from every other one. */
const pattern = (seed: number): Buffer =>
  Buffer.from(Uint32Array.from({ length: SIZE / 4 }, (_, i) => Math.imul(i + seed, 0x9e3779b1)).buffer)

/** A LUN of no more than what an effect looks at, with two nexuses; what was told to IOThreads and drivers. */
function effects(medium: Medium) {
  const sent: [iothread: string, command: Command][] = []
  const announced: [controller: string, type: number, reason: number][] = []
  const iothread = (name: string) => ({
    send: async (command: Command) => {
      sent.push([name, command])
      return name.length
    },
  })
  const nexuses = new Set<LunNexus>()
  const state = UnitState.create(1)
  const lun = { medium, state, nexuses } as unknown as Lun
  const join = (controller: string, iothreads: string[]): LunNexus => {
    const nexus = {
      ...{ controller, target: 1, lun: 2, unit: lun },
      placement: { iothreads: iothreads.map(iothread), moving: undefined },
      announce: (type: number, reason: number) => announced.push([controller, type, reason]),
    } as unknown as LunNexus
    nexuses.add(nexus)
    return nexus
  }
  const [own, other] = [join('own', ['a', 'bb']), join('other', ['bb', 'ccc'])]
  return {
    lun,
    state,
    own,
    other,
    sent,
    announced,
    perform: (effect: PerformedEffect) => performEffect(lun, effect, own),
  }
}

const MEMORY_MEDIUM: Medium = { kind: 'memory', fd: -1, address: 0 }

t.test('a fence asks each IOThread of each controller', async (t) => {
  const { perform, sent } = effects(MEMORY_MEDIUM)
  t.equal(await perform({ type: 'fence' }), 0)
  const at = (controller: string) => ({ type: 'fence', controller, target: 1, lun: 2 })
  t.strictSame(sent, [
    ['a', at('own')],
    ['bb', at('own')],
    ['bb', at('other')],
    ['ccc', at('other')],
  ])
})

t.test('an abort ends the commands of others, and counts them', async (t) => {
  const { perform, own, other, sent } = effects(MEMORY_MEDIUM)
  t.equal(await perform({ type: 'abort', nexuses: [own, other] }), 'bb'.length + 'ccc'.length)
  const command = { type: 'cancel', controller: 'other', target: 1, lun: 2, tag: null, reason: CANCEL.ABORTED }
  t.strictSame(sent, [
    ['bb', command],
    ['ccc', command],
  ])
})

t.test('drivers hear of a unit attention', async (t) => {
  const { perform, other, announced } = effects(MEMORY_MEDIUM)
  t.equal(await perform({ type: 'announce', nexuses: [other], attention: SENSE.MODE_PARAMETERS_CHANGED }), 0)
  t.strictSame(announced, [['other', EVENT_TYPE.PARAM_CHANGE, 0x012a]])
})

t.test('a flush, and one that fails', async (t) => {
  t.equal(await effects(MEMORY_MEDIUM).perform({ type: 'flush' }), 0)
  const fd = openFd(sparseImage(tempDir(t), 'disk', 1), constants.O_RDONLY)
  // fdatasync of an eventfd is refused.
  const eventfd = createEventfd()
  t.teardown(() => [fd, eventfd].forEach(close))
  const good = effects({ kind: 'file', fd, inline: false })
  t.equal(await good.perform({ type: 'flush' }), 0)
  t.equal(good.state.flags & FLAG.WRITE_FAULT, 0)
  const bad = effects({ kind: 'file', fd: eventfd, inline: false })
  t.equal(await bad.perform({ type: 'flush' }), -ERRNO.EINVAL)
  t.equal(bad.state.flags & FLAG.WRITE_FAULT, FLAG.WRITE_FAULT, 'nobody is told again that what was written is safe')
})

t.test('EXTENDED COPY between files, memory and a null disk', async (t) => {
  const { initiator, paths } = await bench(t)
  const [first, second] = [pattern(1), pattern(2)]
  writeFileSync(paths[0]!, first)
  writeFileSync(paths[1]!, second)
  const units = WWN.map((wwn) => naaUnit(wwn))
  const copies = async (lun: number, ...segments: Uint8Array[]): Promise<void> => {
    t.match(await initiator.scsi(copyCommand(lun, copyList({ units, segments }))), { status: STATUS.GOOD, residual: 0 })
  }
  await copies(MEMORY, segment(8192, 100, 200, FILE, MEMORY), segment(8192, 8192, 16384, OTHER, MEMORY))
  const memory = Buffer.alloc(SIZE)
  first.copy(memory, 200 * 512, 100 * 512, 8292 * 512)
  second.copy(memory, 16384 * 512, 8192 * 512, 16384 * 512)
  t.equal(Buffer.compare(await content(initiator, MEMORY), memory), 0, 'from files to memory')

  await copies(FILE, segment(20000, 0, 12768, FILE, OTHER))
  first.copy(second, 12768 * 512, 0, 20000 * 512)
  t.equal(Buffer.compare(await content(initiator, OTHER), second), 0, 'from file to file')

  await copies(FILE, segment(20000, 0, 7, FILE, FILE), segment(10000, 1000, 0, FILE, FILE))
  first.copyWithin(7 * 512, 0, 20000 * 512)
  first.copyWithin(0, 1000 * 512, 11000 * 512)
  t.equal(Buffer.compare(readFileSync(paths[0]!), first), 0, 'within a file, onto itself')

  await copies(NULL, segment(20000, 0, 0, NULL, MEMORY), segment(100, 0, 0, FILE, NULL))
  memory.fill(0, 0, 20000 * 512)
  t.equal(Buffer.compare(await content(initiator, MEMORY), memory), 0, 'zeros of a null disk')
})

t.test('copies at the same time, and one that is aborted', async (t) => {
  const { initiator, paths } = await bench(t)
  const data = pattern(3)
  writeFileSync(paths[0]!, data)
  const units = WWN.map((wwn) => naaUnit(wwn))
  const whole = segment(BLOCKS, 0, 0, FILE, MEMORY)
  const answers = await Promise.all(
    [1, 2, 3, 4].map((identifier) =>
      initiator.scsi(copyCommand(FILE, copyList({ identifier, units, segments: [whole] })), { queue: identifier - 1 }),
    ),
  )
  t.match(answers, new Array(4).fill({ status: STATUS.GOOD }))
  t.equal(Buffer.compare(await content(initiator, MEMORY), data), 0)
  const long = copyList({ units, segments: new Array(16).fill(segment(BLOCKS, 0, 0, MEMORY, FILE)) })
  const { tag, done } = initiator.submit(copyCommand(FILE, long))
  t.equal(await initiator.tmf(TMF.ABORT_TASK, 0, FILE, tag), RESPONSE.OK)
  t.equal((await done).response, RESPONSE.ABORTED)
  await initiator.ready(0, FILE)
  t.equal(Buffer.compare(readFileSync(paths[0]!), data), 0, 'each time the same was written')
})

for (const lun of [FILE, MEMORY, NULL]) {
  t.test(`SANITIZE and FORMAT UNIT, LUN ${lun}`, async (t) => {
    const { initiator } = await bench(t)
    const run = (cdb: string, out?: Uint8Array): Promise<ScsiResult> =>
      initiator.scsi({ cdb: bytes(cdb), lun, ...(out && { dataOut: out }) })
    const expected = Buffer.alloc(SIZE)
    for (let i = 0; i < SIZE; i++) expected[i] = (i % 512) % 2 === 0 ? 0xab : 0xcd
    t.match(await run('48 01 00 00 00 00 00 00 06 00', bytes('01 00 00 02 ab cd')), { status: STATUS.GOOD })
    if (lun !== NULL) t.equal(Buffer.compare(await content(initiator, lun), expected), 0, 'OVERWRITE')
    t.match(await run('48 02 00*8'), { status: STATUS.GOOD })
    t.ok(
      (await content(initiator, lun)).every((byte) => byte === 0),
      'BLOCK ERASE',
    )
    t.match(await run('04 10 00*4', bytes('00 88 00 00 00 01 00 01 55')), { status: STATUS.GOOD })
    if (lun !== NULL)
      t.ok(
        (await content(initiator, lun)).every((byte) => byte === 0x55),
        'FORMAT UNIT',
      )

    // Of many passes, answered at once
    t.match(await run('48 81 00 00 00 00 00 00 05 00', bytes('1f 00 00 01 77')), { status: STATUS.GOOD })
    const seen: number[] = []
    await eventually(PATIENCE, 'its end', async () => {
      const { data } = await initiator.scsi({ cdb: bytes('03 00 00 00 12 00'), lun, dataIn: 18 })
      if (data[2] !== 2) return true
      t.match([data[12], data[13], data[15]], [0x04, 0x1b, 0x80])
      seen.push((data[16]! << 8) | data[17]!)
      return undefined
    })
    t.same(
      seen,
      seen.toSorted((a, b) => a - b),
      'it goes on',
    )
    t.match(await run('00*6'), { status: STATUS.GOOD })
    if (lun !== NULL) t.ok((await content(initiator, lun)).every((byte) => byte === 0x77))
  })
}

t.test('a daemon that is stopped does not wait for a long command', async (t) => {
  const image = sparseImage(tempDir(t), 'disk.img', 256)
  const daemon = await startDaemon(t, [`--lun=path=${image}`, '--stop-timeout=600'])
  const initiator = await Initiator.connect(daemon.socketPath, { deadline: PATIENCE })
  t.teardown(() => initiator.close())
  await initiator.ready(0, 0)
  const { done } = initiator.submit({ cdb: bytes('48 01 00 00 00 00 00 00 05 00'), dataOut: bytes('1f 00 00 01 77') })
  await eventually(PATIENCE, 'its beginning', async () => {
    const { status } = await initiator.scsi({ cdb: bytes('00*6') })
    return status === STATUS.CHECK_CONDITION || undefined
  })
  t.same(await daemon.stop(), { code: 0, signal: null })
  t.equal(senseCode(await done), SENSE.IO_PROCESS_TERMINATED)
})
