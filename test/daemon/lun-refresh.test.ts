import { truncateSync } from 'node:fs'
import t, { type Test } from 'tap'
import { EVENT_TYPE } from 'vhost-user-protocol-ts'
import type { Log } from '../../daemon/log.js'
import { Lun, type LunNexus } from '../../daemon/lun.js'
import { refreshLun } from '../../daemon/lun-refresh.js'
import { createNexusWords, SENSE, takeAttention } from '../../scsi/index.js'
import { sparseImage } from '../support/image.js'
import { lunConfig } from '../support/luns.js'
import { tempDir } from '../support/temp-dir.js'

const MIB = 2 ** 20

/** A LUN of 1 MiB with two nexuses, and what they and the log are told. */
function served(t: Test, blockSize: 512 | 4096 = 512) {
  const path = sparseImage(tempDir(t), 'disk.img', 1)
  const lun = Lun.open(lunConfig({ driver: 'file', path, size: MIB, blockSize }))
  t.teardown(() => lun.close())
  const told: number[][] = []
  const lines: string[] = []
  const log = {
    warn: (_fields: object, line: string) => lines.push(`warn ${line}`),
    info: (_fields: object, line: string) => lines.push(`info ${line}`),
  } as unknown as Log
  const nexuses = ['a', 'b'].map((controller) => ({
    controller,
    port: { relative: 1, name: '3000000000000001' },
    initiator: '300000000000000a',
    placement: { iothreads: [], moving: undefined },
    target: 0,
    lun: 0,
    readOnly: false,
    attention: createNexusWords(),
    unit: lun,
    executor: lun.executor,
    begin: async () => {},
    announce: (type: number, reason: number) => told.push([type, reason]),
    reachable: () => [],
  }))
  for (const nexus of nexuses) lun.nexuses.add(nexus as LunNexus)
  return { path, lun, log, lines, told, nexuses }
}

t.test('an image that has grown', async (t) => {
  const { path, lun, log, lines, told, nexuses } = served(t)
  t.same(refreshLun(lun, log), { size: MIB, grown: false }, 'not yet')
  t.same([told, lines], [[], []])
  truncateSync(path, 3 * MIB)
  t.same(refreshLun(lun, log), { size: 3 * MIB, grown: true })
  t.equal(lun.state.capacity, (3 * MIB) / 512)
  const change = [EVENT_TYPE.PARAM_CHANGE, 0x092a]
  t.same(told, [change, change], 'ASC 2A in the low byte, ASCQ 09 in the next')
  for (const { attention } of nexuses) {
    t.equal(takeAttention(attention), SENSE.CAPACITY_DATA_HAS_CHANGED)
    t.equal(takeAttention(attention), 0)
  }
  t.same(lines, [`info lun "disk0" has grown from ${MIB} to ${3 * MIB} bytes`])
  t.same(refreshLun(lun, log), { size: 3 * MIB, grown: false }, 'once')
  t.equal(told.length, 2)
})

t.test('a size that is no multiple of the block size is served to its last whole block', async (t) => {
  const { path, lun, log, lines } = served(t, 4096)
  truncateSync(path, MIB + 4095)
  t.same(refreshLun(lun, log), { size: MIB, grown: false })
  t.match(lines.splice(0), [/^warn .*is not a multiple of the block size 4096: the last 4095 bytes are not served/])
  truncateSync(path, MIB + 4096 + 512)
  t.same(refreshLun(lun, log), { size: MIB + 4096, grown: true })
  t.match(lines, [/^warn .*the last 512 bytes/, /^info/])
  t.equal(lun.state.capacity, 257)
  truncateSync(path, MIB + 4096 + 100)
  t.same(refreshLun(lun, log), { size: MIB + 4096, grown: false }, 'what is not served may go')
})

t.test('an image that has shrunk is refused, and served as it was', async (t) => {
  const { path, lun, log, told } = served(t)
  for (const size of [MIB - 1, 0]) {
    truncateSync(path, size)
    const message = `LUN "disk0": ${path}: has shrunk to ${size} bytes, but ${MIB} are served, and that cannot get less`
    t.throws(() => refreshLun(lun, log), { name: 'LunError', code: 'EINVAL', message })
  }
  t.equal(lun.state.capacity, MIB / 512)
  t.same(told, [])
})

t.test('disks whose size is fixed', async (t) => {
  const { log } = served(t)
  for (const driver of ['memory', 'null'] as const) {
    const lun = Lun.open(lunConfig({ driver }))
    t.teardown(() => lun.close())
    const message = `LUN "disk0": the size of a ${driver} disk is fixed`
    t.throws(() => refreshLun(lun, log), { name: 'LunError', code: 'ENOTSUP', message })
  }
})

t.test('an image that cannot be looked at', async (t) => {
  const { lun, log } = served(t)
  const gone = { ...lun, config: lun.config, state: lun.state, nexuses: lun.nexuses }
  const closed = { ...gone, medium: { kind: 'file', fd: 2 ** 20, inline: false } } as unknown as Lun
  t.throws(() => refreshLun(closed, log), { name: 'LunError', code: 'EBADF', message: /not an open descriptor/ })
})
