// Media that end early, are full, or fail, on real IOThreads.
import { execFileSync } from 'node:child_process'
import { constants, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { ERRNO, openFd, raw } from 'memfd-mmap'
import t from 'tap'
import type { UnitSpec } from '../../iothreads/messages.js'
import { SENSE, STATUS } from '../../scsi/index.js'
import { eventually, within } from '../support/deadline.js'
import {
  FUA,
  read10,
  read16,
  senseCode,
  synchronizeCache10,
  TEST_UNIT_READY,
  verify16,
  write10,
  writeSame16,
} from '../support/iothreads/cdb.js'
import { DEADLINE, IoRig, type StartedThread, startThread } from '../support/iothreads/io-rig.js'
import { imageFd, unitSpec } from '../support/iothreads/units.js'
import { tempDir } from '../support/temp-dir.js'
import { readResult, type ScsiResult, writeCommand } from '../support/vhost/scsi-request.js'

const MIB = 2 ** 20
const file = (fd: number, size: number, inline = false): UnitSpec => unitSpec({ kind: 'file', fd, inline }, { size })
const failure = ({ response, status, sense, residual }: ScsiResult): unknown[] => [
  response,
  status,
  senseCode(sense),
  residual,
]
const checked = (code: number, residual: number): unknown[] => [0, STATUS.CHECK_CONDITION, code, residual]

const ways = [
  { name: 'io_uring', engine: 'io_uring', inline: false },
  { name: 'io_uring, inline', engine: 'io_uring', inline: true },
  { name: 'epoll', engine: 'epoll', inline: false },
] as const

for (const { name, engine, inline } of ways) {
  let started: StartedThread
  t.test(`an image that was cut behind our back: ${name}`, async (t) => {
    started = await startThread(t, { engine })
    for (const place of ['file', 'tmpfs'] as const) {
      const fd = imageFd(t, 4 * MIB, place)
      const rig = await IoRig.start(t, { units: [file(fd, 4 * MIB, inline)], threads: [started], controller: place })
      const length = 512 * 1024
      const data = new Uint8Array(length).fill(0x5a)
      t.equal((await rig.run(0, { cdb: write10(1024, 1024), dataOut: data })).status, STATUS.GOOD)
      // The request lies across the new end, then behind it.
      raw.ftruncate(fd, 512 * 1024 + 1000)
      const layout = { in: [108, 100, 5000], gaps: [3] }
      t.strictSame(
        failure(await rig.run(0, { cdb: read10(1024, 1024), dataIn: length }, layout)),
        checked(SENSE.UNRECOVERED_READ_ERROR, length),
      )
      t.strictSame(
        failure(await rig.run(0, { cdb: read10(1024, 1), dataIn: 512 })),
        [0, STATUS.GOOD, 0, 0],
        'what is there can be read',
      )
      t.strictSame(
        failure(await rig.run(0, { cdb: read10(4000, 8), dataIn: 4096 })),
        checked(SENSE.UNRECOVERED_READ_ERROR, 4096),
      )
      t.strictSame(failure(await rig.run(0, { cdb: verify16(0, 8192) })), checked(SENSE.UNRECOVERED_READ_ERROR, 0))
      // A write makes the file longer again, and what lies between reads as zeros.
      t.equal((await rig.run(0, { cdb: write10(8000, 8), dataOut: data.subarray(0, 4096) })).status, STATUS.GOOD)
      const { status, data: hole } = await rig.run(0, { cdb: read10(4000, 8), dataIn: 4096 })
      t.equal(status, STATUS.GOOD)
      t.ok(hole.every((byte) => byte === 0))
      t.equal(await rig.stopQueue(0), 7, 'nothing hangs')
    }
  })

  t.test(`a file system that is full: ${name}`, async (t) => {
    if (process.getuid?.() !== 0) {
      t.comment('skipped: only root can mount a file system')
      return
    }
    started = await startThread(t, { engine })
    const directory = join(tempDir(t), 'full')
    mkdirSync(directory)
    try {
      execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', directory], { stdio: 'pipe' })
    } catch (error) {
      t.comment(`skipped: ${(error as Error).message}`)
      return
    }
    const fd = openFd(join(directory, 'image'), constants.O_RDWR | constants.O_CREAT)
    t.teardown(() => {
      raw.close(fd)
      execFileSync('umount', [directory])
    })
    raw.ftruncate(fd, 8 * MIB)
    const rig = await IoRig.start(t, { units: [file(fd, 8 * MIB, inline)], threads: [started] })
    const data = new Uint8Array(MIB / 2).fill(0x77)
    const full = checked(SENSE.SPACE_ALLOCATION_FAILED_WRITE_PROTECT, MIB / 2)
    t.equal((await rig.run(0, { cdb: write10(0, 1024), dataOut: data })).status, STATUS.GOOD)
    // A part of this one still fits.
    t.strictSame(failure(await rig.run(0, { cdb: write10(1536, 1024), dataOut: data })), [0, 0, 0, 0])
    t.strictSame(failure(await rig.run(0, { cdb: write10(4096, 1024), dataOut: data })), full)
    t.strictSame(failure(await rig.run(0, { cdb: write10(4096, 1024), dataOut: data }, { out: [51, 777] })), full)
    t.strictSame(
      failure(await rig.run(0, { cdb: writeSame16(8192, 4096), dataOut: data.subarray(0, 512) })),
      checked(SENSE.SPACE_ALLOCATION_FAILED_WRITE_PROTECT, 512),
    )
    t.equal(
      (await rig.run(0, { cdb: write10(0, 1024), dataOut: data })).status,
      STATUS.GOOD,
      'where space is allocated',
    )
    t.ok((await rig.run(0, { cdb: read10(0, 1024), dataIn: MIB / 2 })).data.every((byte) => byte === 0x77))
    t.equal((await rig.run(0, { cdb: synchronizeCache10() })).status, STATUS.GOOD)
    t.strictSame(started.mediumFaults, [], 'a full file system is no failed flush')
  })

  t.test(`a medium that fails: ${name}`, async (t) => {
    started = await startThread(t, { engine })
    // Memory of this process that is not mapped: EIO both ways. Zeros that cannot be overwritten: ENOSPC.
    const self = openFd('/proc/self/mem', constants.O_RDWR)
    const fullDevice = openFd('/dev/full', constants.O_RDWR)
    const readOnly = openFd('/dev/zero', constants.O_RDONLY)
    t.teardown(() => [self, fullDevice, readOnly].map(raw.close))
    const units = [self, fullDevice, readOnly].map((fd, lun) => ({ ...file(fd, MIB, inline), lun }))
    const rig = await IoRig.start(t, { units, threads: [started] })
    const dataOut = new Uint8Array(4096)
    const parts = { out: [51, 1000], in: [108, 1000] }
    for (const layout of [{}, parts]) {
      const read = await rig.run(0, { cdb: read10(0, 8), dataIn: 4096 }, layout)
      t.strictSame(failure(read), checked(SENSE.UNRECOVERED_READ_ERROR, 4096))
      const written = await rig.run(0, { cdb: write10(0, 8), dataOut }, layout)
      t.strictSame(failure(written), checked(SENSE.WRITE_ERROR, 4096))
      const full = await rig.run(0, { cdb: write10(0, 8), dataOut, lun: 1 }, layout)
      t.strictSame(failure(full), checked(SENSE.SPACE_ALLOCATION_FAILED_WRITE_PROTECT, 4096))
      t.equal((await rig.run(0, { cdb: read16(0, 8), dataIn: 4096, lun: 1 }, layout)).status, STATUS.GOOD)
      const refused = await rig.run(0, { cdb: write10(0, 8), dataOut, lun: 2 }, layout)
      t.strictSame(failure(refused), checked(SENSE.INTERNAL_TARGET_FAILURE, 4096), 'EBADF')
    }
    t.strictSame(started.mediumFaults, [])
    // A descriptor that knows no fdatasync: the flush fails, and from then on nothing is said to be written.
    t.equal((await rig.run(0, { cdb: synchronizeCache10(), lun: 1 })).status, STATUS.CHECK_CONDITION)
    await eventually(DEADLINE, 'report', () => started.mediumFaults[0])
    t.strictSame(started.mediumFaults, [{ type: 'mediumFault', controller: 'scsi0', unit: 1, errno: ERRNO.EINVAL }])
    const late = await rig.run(0, { cdb: write10(0, 8, FUA), dataOut, lun: 1 })
    t.strictSame(failure(late), checked(SENSE.WRITE_ERROR, 4096))
    t.equal((await rig.run(0, { cdb: TEST_UNIT_READY, lun: 1 })).status, STATUS.GOOD)
    t.strictSame(started.failures, [])
  })
}

for (const { name, engine, inline } of ways) {
  t.test(`guest memory that its owner has cut off is an error of the transfer: ${name}`, async (t) => {
    const started = await startThread(t, { engine })
    const fd = imageFd(t, MIB)
    const rig = await IoRig.start(t, { units: [file(fd, MIB, inline)], threads: [started], sealed: false })
    const [region] = rig.memory.regions
    const area = rig.memory.allocate(4096, 4096)
    const bytes = new Uint8Array(area.buffer, area.byteOffset, area.length)
    raw.ftruncate(region!.fd, region!.size / 2)
    const far = region!.guestAddress + region!.size - MIB
    const header = { address: area.address, length: 51, writable: false }
    const response = { address: area.address + 512, length: 108, writable: true }
    for (const [cdb, writable] of [
      [read10(0, 16), true],
      [write10(0, 16), false],
    ] as const) {
      writeCommand(bytes.fill(0), { cdb }, 1)
      // In one piece, and in two.
      for (const pieces of [[8192], [4096, 4096]]) {
        const data = pieces.map((length, i) => ({ address: far + 65536 * i, length, writable }))
        const chain = writable ? [header, response, ...data] : [header, ...data, response]
        const queue = rig.queues[0]!
        const { done } = queue.add(chain)
        queue.publish()
        const usedLength = await within(DEADLINE, 'answer', done)
        const answer = readResult(bytes.slice(512, 620), new Uint8Array(0), usedLength)
        t.strictSame(failure(answer), checked(SENSE.IO_PROCESS_TERMINATED, 8192))
        t.equal(usedLength, 108)
      }
    }
    t.strictSame(started.failures, [])
  })
}
