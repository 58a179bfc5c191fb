import { ERRNO } from 'memfd-mmap'
import t from 'tap'
import { MemoryDriver } from '../../../iothreads/drivers/memory.js'
import { NullDriver } from '../../../iothreads/drivers/null.js'
import { ReadOnlyDriver } from '../../../iothreads/drivers/read-only.js'
import { SegmentRig } from '../../support/iothreads/request-with.js'
import { testMedium } from '../../support/iothreads/units.js'

const SIZE = 65536

t.test('what changes the medium ends with EROFS, all else is done', async (t) => {
  const rig = new SegmentRig(t, 8192)
  const { medium, content } = testMedium(t, 'memory', SIZE)
  if (medium.kind !== 'memory') throw new TypeError(medium.kind)
  const inner = new MemoryDriver(medium.fd, medium.address)
  const driver = new ReadOnlyDriver(inner)
  const request = rig.request([[0, 512]], [[1024, 512]])
  rig.bytes.fill(0x5a)
  inner.buffer(request, true, rig.address, 0, 4096, false)
  rig.bytes.fill(0)
  t.equal(driver.extent(4096, 4096, false), inner.extent(4096, 4096, false))
  t.ok(driver.extent(0, SIZE, true) >= 4096)
  Object.assign(request.task, { offset: 0, length: 512 })
  t.equal(driver.transfer(request, rig.table, true), -ERRNO.EROFS)
  t.equal(driver.buffer(request, true, rig.address, 0, 512, true), -ERRNO.EROFS)
  t.equal(driver.discard(request, 0, 4096), -ERRNO.EROFS)
  t.equal(driver.zero(request, 0, 4096), -ERRNO.EROFS)
  t.ok(
    content()
      .subarray(0, 4096)
      .every((byte) => byte === 0x5a),
  )
  t.equal(driver.transfer(request, rig.table, false), 512)
  t.equal(rig.bytes[1024], 0x5a)
  t.equal(driver.buffer(request, false, rig.address + 4096, 0, 512, false), 512)
  t.equal(rig.bytes[4096], 0x5a)
  t.equal(driver.flush(request), 0)
  t.equal(driver.prefetch(request, 0, SIZE), 0)
  t.equal(driver.delayLine, null)
})

t.test('it holds requests back where the other one does', async (t) => {
  const inner = new NullDriver(1000, () => {})
  t.equal(new ReadOnlyDriver(inner).delayLine, inner.delayLine)
  t.not(inner.delayLine, null)
})
