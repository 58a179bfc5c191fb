import { clockMonotonicNs } from 'memfd-mmap'
import t from 'tap'
import { PENDING } from '../../../iothreads/block-io.js'
import { NullDriver } from '../../../iothreads/drivers/null.js'
import type { Request } from '../../../iothreads/request.js'
import { SegmentRig } from '../../support/iothreads/request-with.js'

const transfer = (driver: NullDriver, request: Request, rig: SegmentRig, offset: number, length: number): number => {
  Object.assign(request.task, { offset, length })
  return driver.transfer(request, rig.table, true)
}

const operations = (driver: NullDriver, request: Request, rig: SegmentRig): number[] => [
  transfer(driver, request, rig, 0, 512),
  transfer(driver, request, rig, 2 ** 40, 2 ** 29),
  driver.buffer(request, true, rig.address, 0, 77, true),
  driver.flush(request),
  driver.discard(request, 0, 512),
  driver.zero(request, 0, 512),
  driver.prefetch(request, 0, 512),
]

t.test('without a delay everything ends at once and nothing is moved', async (t) => {
  const rig = new SegmentRig(t, 4096)
  rig.bytes.fill(0x12)
  const request = rig.request([[0, 512]], [[1024, 512]])
  const driver = new NullDriver(0, () => t.fail('ended twice'))
  t.equal(driver.delayLine, null)
  t.strictSame(operations(driver, request, rig), [512, 2 ** 29, 77, 0, 0, 0, 0])
  t.ok(rig.bytes.every((byte) => byte === 0x12))
  t.equal(driver.buffer(request, false, rig.address + 100, 4096, 50, false), 50)
  t.ok(
    rig.bytes.every((byte, i) => byte === (i < 100 || i >= 150 ? 0x12 : 0)),
    'what is read into a buffer of ours is zeros',
  )
  t.equal(driver.extent(512, 4096, true), 4096, 'all of it counts as allocated')
  t.equal(driver.extent(512, 4096, false), 0)
})

t.test('with a delay everything ends later, in order', async (t) => {
  const rig = new SegmentRig(t, 4096)
  const request = rig.request([[0, 512]], [[1024, 512]])
  const ended: number[] = []
  const driver = new NullDriver(1e9, (each, result) => {
    t.equal(each, request)
    ended.push(result)
  })
  const before = clockMonotonicNs()
  t.strictSame(operations(driver, request, rig), new Array(7).fill(PENDING))
  const line = driver.delayLine!
  t.ok(line.deadline >= before + 1e9)
  line.poll(before + 1e9 - 1)
  t.strictSame(ended, [])
  line.poll(clockMonotonicNs() + 1e9)
  t.strictSame(ended, [512, 2 ** 29, 77, 0, 0, 0, 0])
  t.equal(line.deadline, Number.POSITIVE_INFINITY)
})
