import { constants } from 'node:fs'
import { close, openFd } from 'memfd-mmap'
import t, { type Test } from 'tap'
import { ControllerLuns } from '../../daemon/controller-luns.js'
import type { LunConfig } from '../../daemon/daemon-config.js'
import { ImageLock } from '../../daemon/image-lock.js'
import { Lun } from '../../daemon/lun.js'
import { SENSE, takeAttention } from '../../scsi/index.js'
import { sparseImage } from '../support/image.js'
import { lunConfig } from '../support/luns.js'
import { tempDir } from '../support/temp-dir.js'

const PORT = { relative: 5, name: '3000000000000005' }
const PLACEMENT = { iothreads: [], moving: undefined }

function lunsOf(controller: string, told: unknown[] = []): ControllerLuns {
  return new ControllerLuns(controller, PORT, PLACEMENT, (at, type, reason) =>
    told.push([at.target, at.lun, type, reason]),
  )
}

function open(t: Test, overrides: Partial<LunConfig>): Lun {
  const lun = Lun.open(lunConfig(overrides))
  t.teardown(() => lun.close())
  return lun
}

const at = (id: string, lun: number, target = 0, readOnly = false) => ({ id, target, lun, readOnly })

t.test('LUNs come and go, their places in the statistics stay', async (t) => {
  const luns = lunsOf('vm')
  const [a, b, c] = ['a', 'b', 'c'].map((id) => open(t, { id })) as [Lun, Lun, Lun]
  luns.add(a, at('a', 0))
  luns.add(b, at('b', 300, 4, true))
  t.same(luns.places, [at('a', 0), at('b', 300, 4, true)])
  const shown = (without?: string) =>
    luns.units(without).map(({ place, target, lun, readOnly }) => [place, target, lun, readOnly])
  t.same(shown(), [
    [0, 0, 0, false],
    [1, 4, 300, true],
  ])
  t.same(shown('a'), [[1, 4, 300, true]])
  luns.remove('a')
  luns.add(c, at('c', 0))
  t.same(luns.known, ['a', 'b', 'c'])
  t.same(shown(), [
    [1, 4, 300, true],
    [2, 0, 0, false],
  ])
  luns.add(a, at('a', 1, 7))
  t.same(luns.known, ['a', 'b', 'c'], 'one that comes again is known')
  t.same(shown('b'), [
    [2, 0, 0, false],
    [0, 7, 1, false],
  ])
  const [unit] = luns.units()
  t.equal(unit!.state, b.state.memory)
  t.equal(unit!.medium, b.medium)
  t.equal(unit!.config, b.unit)
})

t.test('a nexus begins with a power on, and is known to its LUN', async (t) => {
  const told: unknown[] = []
  const luns = lunsOf('vm', told)
  const lun = open(t, { id: 'a' })
  luns.add(lun, at('a', 5, 2))
  const [nexus] = luns.nexuses
  t.match(nexus, { controller: 'vm', target: 2, lun: 5, readOnly: false })
  t.equal(nexus!.unit, lun)
  t.same([...lun.nexuses], [nexus])
  t.equal(takeAttention(nexus!.attention), SENSE.POWER_ON_RESET_OR_BUS_DEVICE_RESET_OCCURRED)
  t.equal(luns.units()[0]!.attention, nexus!.attention.buffer)
  nexus!.announce(3, 0x92a)
  t.same(told, [[2, 5, 3, 0x92a]])
  luns.remove('a')
  t.same([luns.nexuses, [...lun.nexuses]], [[], []])
  luns.add(lun, at('a', 5, 2))
  t.not(luns.nexuses[0], nexus)
  luns.clear()
  t.same([luns.nexuses, luns.places, [...lun.nexuses]], [[], [], []])
})

t.test('what cannot be', async (t) => {
  const [luns, others] = [lunsOf('vm'), lunsOf('other')]
  const [a, b, shared] = [open(t, { id: 'a' }), open(t, { id: 'b' }), open(t, { id: 's', shareRw: true })]
  luns.add(a, at('a', 0))
  luns.add(b, at('b', 1, 0, true))
  luns.add(shared, at('s', 2))
  const refused = (code: string, message: RegExp) => ({ name: 'LunError', code, message })
  t.throws(() => luns.add(a, at('a', 9)), refused('EEXIST', /^controller "vm" has LUN "a" already$/))
  t.throws(() => luns.add(open(t, { id: 'x' }), at('x', 1)), refused('EEXIST', /LUN "b" at target 0 lun 1 already$/))
  t.throws(() => luns.remove('x'), refused('ENOENT', /^controller "vm" has no LUN "x"$/))
  t.throws(() => luns.place('x'), { code: 'ENOENT' })
  const writer = /^LUN "a": both controller "vm" and controller "other" could write to it, expected share-rw=on, or /
  t.throws(() => others.add(a, at('a', 0)), refused('EBUSY', writer))
  t.same(others.known, [])
  others.add(a, at('a', 0, 0, true))
  others.add(b, at('b', 1))
  others.add(shared, at('s', 2))
  t.equal(a.nexuses.size, 2)
  t.same(others.place('b'), at('b', 1))
  luns.remove('b')
  t.throws(() => luns.add(b, at('b', 1)), { code: 'EBUSY' }, 'now the other one writes')
})

t.test('images are locked while a ring runs', async (t) => {
  const paths = ['a', 'b'].map((name) => sparseImage(tempDir(t), name, 1))
  const [a, b] = paths.map((path, i) => open(t, { id: 'ab'[i]!, driver: 'file', path })) as [Lun, Lun]
  const others = paths.map((path) => {
    const fd = openFd(path, constants.O_RDWR)
    t.teardown(() => close(fd))
    return new ImageLock(fd, path, true, false)
  })
  const isFree = (i: number): boolean => {
    try {
      others[i]!.acquire()
    } catch {
      return false
    }
    others[i]!.release()
    return true
  }
  const luns = lunsOf('vm')
  luns.add(a, at('a', 0))
  t.ok(isFree(0))
  await luns.lock()
  t.same([isFree(0), isFree(1)], [false, true])
  luns.add(b, at('b', 1))
  t.notOk(isFree(1), 'of one that comes')
  luns.remove('a')
  t.ok(isFree(0), 'of one that goes')
  others[0]!.acquire()
  t.throws(() => luns.add(a, at('a', 0)), { code: 'VUS_IMAGE_LOCKED' })
  t.same(luns.places, [at('b', 1)])
  t.equal(a.nexuses.size, 0)
  luns.unlock()
  t.ok(isFree(1))
  luns.add(a, at('a', 0))
  await t.rejects(luns.lock(0), { code: 'VUS_IMAGE_LOCKED' })
  t.ok(isFree(1), 'all or none')
  const locked = luns.lock()
  others[0]!.release()
  await locked
  luns.unlock()
  t.same([isFree(0), isFree(1)], [true, true])
})
