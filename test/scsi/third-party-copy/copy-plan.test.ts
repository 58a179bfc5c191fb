import t from 'tap'
import { SENSE } from '../../../scsi/sense.js'
import { Task } from '../../../scsi/task.js'
import { type CopyEnd, isDesignatedBy, planSegment } from '../../../scsi/third-party-copy/copy-plan.js'
import { type CopyList, type CopyUnit, parseCopyList } from '../../../scsi/third-party-copy/parameter-list.js'
import { copyList, naaUnit, segment } from '../support/copy-list.js'
import { bytes } from '../support/hex.js'

function listOf(o: Parameters<typeof copyList>[0]): CopyList {
  const task = new Task()
  task.parameters = copyList(o)
  task.parameterLength = task.parameters.length
  return parseCopyList(task)!
}

const SMALL = 'aaaaaaaaaaaaaaa1'
const LARGE = 'aaaaaaaaaaaaaaa2'
const PROTECTED = 'aaaaaaaaaaaaaaa3'
const ENDS: Readonly<Record<string, CopyEnd>> = {
  [SMALL]: { blockSize: 512, capacity: 1000, readOnly: false },
  [LARGE]: { blockSize: 4096, capacity: 100, readOnly: false },
  [PROTECTED]: { blockSize: 512, capacity: 1000, readOnly: true },
}
const find = ({ designator }: CopyUnit): CopyEnd | undefined => ENDS[Buffer.from(designator).toString('hex')]

const UNITS = [
  ...[naaUnit(SMALL), naaUnit(LARGE, 4096), naaUnit(PROTECTED, 0)],
  ...[naaUnit('bbbbbbbbbbbbbbbb'), naaUnit(LARGE, 512)],
]

function plan(...arguments_: Parameters<typeof segment>): ReturnType<typeof planSegment> {
  const list = listOf({ units: UNITS, segments: [segment(...arguments_)] })
  return planSegment(list, list.segments[0]!, find)
}

t.test('blocks become bytes', async (t) => {
  t.same(plan(16, 8, 900), {
    source: ENDS[SMALL],
    destination: ENDS[SMALL],
    sourceOffset: 4096,
    destinationOffset: 900 * 512,
    length: 8192,
  })
  t.match(plan(16, 8, 90, 0, 1), { sourceOffset: 4096, destinationOffset: 90 * 4096, length: 8192 })
  t.match(plan(2, 8, 90, 0, 1, true), { sourceOffset: 4096, destinationOffset: 90 * 4096, length: 8192 })
  t.match(plan(16, 0, 0, 2, 0), { length: 8192 }, 'from a read-only one')
  t.match(plan(0, 1000, 1000), { length: 0 }, 'nothing at the end')
})

t.test('what ends a copy', async (t) => {
  for (const [what, planned, sense] of [
    ['a source that is in no descriptor', plan(1, 0, 0, 5, 0), SENSE.UNREACHABLE_COPY_TARGET],
    ['such a destination', plan(1, 0, 0, 0, 0xffff), SENSE.UNREACHABLE_COPY_TARGET],
    ['a unit that is not there', plan(1, 0, 0, 0, 3), SENSE.UNREACHABLE_COPY_TARGET],
    ['a block length that is not its own', plan(8, 0, 0, 0, 4), SENSE.UNREACHABLE_COPY_TARGET],
    ['half a block of the destination', plan(12, 0, 0, 0, 1), SENSE.COPY_TARGET_DEVICE_DATA_UNDERRUN],
    ['the end of the source', plan(2, 999, 0), SENSE.COPY_ABORTED],
    ['the end of the destination', plan(2, 0, 999), SENSE.COPY_ABORTED],
    ['addresses beyond all', plan(1, 2 ** 53, 0), SENSE.COPY_ABORTED],
    ['a destination that is write protected', plan(1, 0, 0, 0, 2), SENSE.COPY_TARGET_WRITE_PROTECTED],
  ] as const) {
    t.equal(planned, sense, what)
  }
})

t.test('the null device', async (t) => {
  const unit = naaUnit(SMALL)
  unit[1] = 0x20
  const list = listOf({ units: [unit], segments: [segment(1, 0, 8)] })
  t.equal(planSegment(list, list.segments[0]!, find), SENSE.UNREACHABLE_COPY_TARGET)
})

t.test('designators of a page', async (t) => {
  const page = bytes('01 03 00 02 aa bb 02 01 00 03 41 42 43 01 13 00 02 cc dd 01 03 00 09 00')
  const unit = (codeSet: number, designatorType: number, hex: string): CopyUnit => ({
    none: false,
    codeSet,
    designatorType,
    designator: bytes(hex),
    blockLength: 0,
  })
  t.ok(isDesignatedBy(page, unit(1, 3, 'aa bb')))
  t.ok(isDesignatedBy(page, unit(2, 1, '41 42 43')))
  t.ok(isDesignatedBy(page, unit(1, 0x13, 'cc dd')))
  t.notOk(isDesignatedBy(page, unit(1, 3, 'cc dd')), "a target port's")
  t.notOk(isDesignatedBy(page, unit(1, 3, 'aa bc')))
  t.notOk(isDesignatedBy(page, unit(1, 3, 'aa')))
  t.notOk(isDesignatedBy(page, unit(2, 3, 'aa bb')))
  t.notOk(isDesignatedBy(page, unit(1, 3, '00 00 00 00 00 00 00 00 00')), 'a page that is cut short')
  t.notOk(isDesignatedBy(bytes(''), unit(1, 3, '')))
})
