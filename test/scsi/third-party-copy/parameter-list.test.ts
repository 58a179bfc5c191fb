import t from 'tap'
import { SENSE } from '../../../scsi/sense.js'
import { Task } from '../../../scsi/task.js'
import { COPY_LIMITS } from '../../../scsi/third-party-copy/limits.js'
import { LIST_ID_USAGE, parseCopyList } from '../../../scsi/third-party-copy/parameter-list.js'
import { copyList, NAA_UNIT, segment } from '../support/copy-list.js'
import { bytes } from '../support/hex.js'

/** What becomes of a parameter list, in a task that has it. */
function parse(list: Uint8Array): { task: Task; parsed: ReturnType<typeof parseCopyList> } {
  const task = new Task()
  // Behind other bytes, as in the transport's buffer
  task.parameters = new Uint8Array(list.length + 64).subarray(32)
  task.parameters.set(list)
  task.parameterLength = list.length
  return { task, parsed: parseCopyList(task) }
}

/** The sense code with which a list is refused, and where its field pointer points. */
function refused(list: Uint8Array): [code: number, field: number | undefined] {
  const { task, parsed } = parse(list)
  if (parsed !== undefined) return [0, undefined]
  const sense = task.sense
  return [task.senseCode, sense[15]! === 0 ? undefined : (sense[16]! << 8) | sense[17]!]
}

t.test('a list of each kind of descriptor', async (t) => {
  const list = bytes(`
    07 00 00 20 00*4 00 00 00 38 00 00 00 00
    e4 00 00 00 01 03 00 08 30 01 02 03 04 05 06 07 00*12 00 00 02 00
    02 00 00 18 00 00 00 01 00 00 08 00 00 00 00 00 00 00 00 10 00 00 00 01 00 00 00 20
    02 02 00 18 00 00 00 00 00 00 00 01 00*8 00*7 05`)
  const { parsed } = parse(list)
  t.same(parsed, {
    listIdentifier: 7,
    usage: LIST_ID_USAGE.HOLD,
    units: [
      { none: false, codeSet: 1, designatorType: 3, designator: bytes('30 01 02 03 04 05 06 07'), blockLength: 512 },
    ],
    segments: [
      {
        source: 0,
        destination: 1,
        blocks: 2048,
        countsDestination: false,
        sourceLba: 16,
        destinationLba: 2 ** 32 + 32,
      },
      { source: 0, destination: 0, blocks: 1, countsDestination: true, sourceLba: 0, destinationLba: 5 },
    ],
  })
  t.same(
    copyList({ identifier: 7, units: [NAA_UNIT], segments: [segment(2048, 16, 2 ** 32 + 32, 0, 1)] }).slice(0, 76),
    [...list.slice(0, 11), 28, ...list.slice(12, 76)],
  )
})

t.test('what it keeps does not change with the buffer', async (t) => {
  const { task, parsed } = parse(copyList({ units: [NAA_UNIT], segments: [] }))
  const before = Uint8Array.from(parsed!.units[0]!.designator)
  task.parameters.fill(0xff)
  t.same(parsed!.units[0]!.designator, before)
})

t.test('a list that is cut short', async (t) => {
  const whole = copyList({ units: [NAA_UNIT], segments: [segment(1, 0, 8)] })
  t.equal(whole.length, 16 + 32 + 28)
  for (let length = 0; length < whole.length; length++) {
    t.same(refused(whole.subarray(0, length)), [SENSE.PARAMETER_LIST_LENGTH_ERROR, undefined], `${length} bytes`)
  }
  t.ok(parse(whole).parsed)
  t.ok(parse(Uint8Array.of(...whole, 0, 0)).parsed, 'more than was said is taken no notice of')
})

t.test('as many descriptors as there may be, and one more', async (t) => {
  const units = new Array(COPY_LIMITS.CSCD_DESCRIPTORS).fill(NAA_UNIT)
  const segments = new Array(COPY_LIMITS.SEGMENT_DESCRIPTORS).fill(segment(1, 0, 8))
  t.match(parse(copyList({ units, segments })).parsed, { units: { length: 16 }, segments: { length: 16 } })
  const one = segment(1, 0, 8)
  t.same(refused(copyList({ units: [...units, NAA_UNIT], segments: [one] })), [
    SENSE.TOO_MANY_TARGET_DESCRIPTORS,
    undefined,
  ])
  t.same(refused(copyList({ units: [NAA_UNIT], segments: [...segments, one] })), [
    SENSE.TOO_MANY_SEGMENT_DESCRIPTORS,
    undefined,
  ])
  t.same(refused(copyList({ units: [...units, NAA_UNIT], segments: [...segments, one] })), [
    SENSE.PARAMETER_LIST_LENGTH_ERROR,
    undefined,
  ])
})

t.test('fields that cannot be', async (t) => {
  const list = (at: number, value: number): Uint8Array => {
    const whole = copyList({ units: [NAA_UNIT], segments: [segment(1, 0, 8)] })
    whole[at] = value
    return whole
  }
  const UNIT = 16
  const SEGMENT = 48
  for (const [what, changed, sense, field] of [
    ['LIST ID USAGE that is reserved', list(1, 0x08), SENSE.INVALID_FIELD_IN_PARAMETER_LIST, 1],
    ['an identifier where there is to be none', list(1, 0x18), SENSE.INVALID_FIELD_IN_PARAMETER_LIST, 0],
    ['half a CSCD descriptor', list(3, 0x10), SENSE.INVALID_FIELD_IN_PARAMETER_LIST, 2],
    ['inline data', Uint8Array.of(...list(15, 1), 0), SENSE.INLINE_DATA_LENGTH_EXCEEDED, undefined],
    ['a Fibre Channel port', list(UNIT, 0xe0), SENSE.UNSUPPORTED_TARGET_DESCRIPTOR_TYPE_CODE, undefined],
    ['a designator that is too long', list(UNIT + 7, 21), SENSE.INVALID_FIELD_IN_PARAMETER_LIST, UNIT + 7],
    ['stream to stream', list(SEGMENT, 0x03), SENSE.UNSUPPORTED_SEGMENT_DESCRIPTOR_TYPE_CODE, undefined],
    ['a segment of another length', list(SEGMENT + 3, 0x19), SENSE.INVALID_FIELD_IN_PARAMETER_LIST, SEGMENT + 2],
    ['half a segment descriptor', list(11, 20), SENSE.INVALID_FIELD_IN_PARAMETER_LIST, 8],
    ['a part of its header', list(11, 2), SENSE.INVALID_FIELD_IN_PARAMETER_LIST, 8],
  ] as const) {
    t.same(refused(changed), [sense, field], what)
  }
  for (const type of [0x40, 0xc0]) t.ok(parse(list(UNIT + 1, type)).parsed, 'LU ID TYPE is nothing to look at')
})

t.test('list identifiers', async (t) => {
  const usage = (flags: number, identifier: number): unknown => {
    const list = copyList({ identifier, units: [], segments: [] })
    list[1] = flags
    return parse(list).parsed
  }
  t.match(usage(0x10, 3), { usage: LIST_ID_USAGE.DISCARD, listIdentifier: 3 })
  t.match(usage(0x18, 0), { usage: LIST_ID_USAGE.NONE, listIdentifier: 0 })
  // STR and PRIORITY
  t.match(usage(0x27, 255), { usage: LIST_ID_USAGE.HOLD, listIdentifier: 255 })
})
