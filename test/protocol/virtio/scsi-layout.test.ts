import fc from 'fast-check'
import t from 'tap'
import {
  AN_REQUEST,
  AN_RESPONSE,
  CDB_SIZE,
  CMD_REQUEST,
  CMD_RESPONSE,
  CONFIG,
  CONTROL_TYPE,
  decodeLun,
  EVENT,
  EVENT_RESET_REASON,
  EVENT_TYPE,
  EVENTS_MISSED,
  encodeLun,
  LUN_INVALID,
  RESPONSE,
  SENSE_SIZE,
  TASK_ATTR,
  TMF,
  TMF_REQUEST,
  TMF_RESPONSE,
  VQ,
  WLUN_REPORT_LUNS,
} from 'vhost-user-protocol-ts'

/** Offsets of the fields of a packed structure, in the order of the standard, and its size. */
function packed(...fields: readonly (readonly [name: string, bytes: number])[]): Record<string, number> {
  const offsets: Record<string, number> = {}
  let at = 0
  for (const [name, bytes] of fields) {
    offsets[name] = at
    at += bytes
  }
  return { ...offsets, SIZE: at }
}

t.test('structures are laid out as virtio 1.3 5.6 lists their fields', async (t) => {
  t.same(
    CMD_REQUEST,
    packed(['LUN', 8], ['TAG', 8], ['TASK_ATTR', 1], ['PRIO', 1], ['CRN', 1], ['CDB', CDB_SIZE]),
    'struct virtio_scsi_req_cmd, read',
  )
  t.same(
    CMD_RESPONSE,
    packed(
      ['SENSE_LEN', 4],
      ['RESIDUAL', 4],
      ['STATUS_QUALIFIER', 2],
      ['STATUS', 1],
      ['RESPONSE', 1],
      ['SENSE', SENSE_SIZE],
    ),
    'struct virtio_scsi_req_cmd, written',
  )
  t.same(TMF_REQUEST, packed(['TYPE', 4], ['SUBTYPE', 4], ['LUN', 8], ['TAG', 8]), 'struct virtio_scsi_ctrl_tmf')
  t.same(TMF_RESPONSE, packed(['RESPONSE', 1]))
  t.same(AN_REQUEST, packed(['TYPE', 4], ['LUN', 8], ['EVENT_REQUESTED', 4]), 'struct virtio_scsi_ctrl_an')
  t.same(AN_RESPONSE, packed(['EVENT_ACTUAL', 4], ['RESPONSE', 1]))
  t.same(EVENT, packed(['EVENT', 4], ['LUN', 8], ['REASON', 4]), 'struct virtio_scsi_event')
  t.same(
    CONFIG,
    packed(
      ['NUM_QUEUES', 4],
      ['SEG_MAX', 4],
      ['MAX_SECTORS', 4],
      ['CMD_PER_LUN', 4],
      ['EVENT_INFO_SIZE', 4],
      ['SENSE_SIZE', 4],
      ['CDB_SIZE', 4],
      ['MAX_CHANNEL', 2],
      ['MAX_TARGET', 2],
      ['MAX_LUN', 4],
    ),
    'struct virtio_scsi_config',
  )
  t.equal(CMD_REQUEST.SIZE, 51)
  t.equal(CMD_RESPONSE.SIZE, 108)
})

t.test('codes are those of virtio 1.3 5.6.6', async (t) => {
  const ordered = (codes: Record<string, number>): number[] => Object.values(codes)
  t.same(ordered(RESPONSE), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12])
  t.match(RESPONSE, { OVERRUN: 1, BAD_TARGET: 3, FAILURE: 9, FUNCTION_SUCCEEDED: 10, INCORRECT_LUN: 12 })
  t.same(ordered(TMF), [0, 1, 2, 3, 4, 5, 6, 7])
  t.match(TMF, { ABORT_TASK: 0, CLEAR_ACA: 2, I_T_NEXUS_RESET: 4, LOGICAL_UNIT_RESET: 5, QUERY_TASK: 6 })
  t.same(TASK_ATTR, { SIMPLE: 0, ORDERED: 1, HEAD: 2, ACA: 3 })
  t.same(CONTROL_TYPE, { TMF: 0, AN_QUERY: 1, AN_SUBSCRIBE: 2 })
  t.same(EVENT_TYPE, { NO_EVENT: 0, TRANSPORT_RESET: 1, ASYNC_NOTIFY: 2, PARAM_CHANGE: 3 })
  t.same(EVENT_RESET_REASON, { HARD: 0, RESCAN: 1, REMOVED: 2 })
  t.equal(EVENTS_MISSED, 2 ** 31)
  t.same(VQ, { CONTROL: 0, EVENT: 1, REQUEST: 2 })
})

/** What a LUN field means, read off the text of virtio 1.3 5.6.6.1 and SAM-5 4.7.7. */
function naive(bytes: readonly number[]): number {
  const [b0, b1, b2, b3] = bytes as [number, number, number, number]
  if (b0 === 0xc1 && b1 === 1) return WLUN_REPORT_LUNS
  if (b0 !== 1) return LUN_INVALID
  switch (b2 >> 6) {
    case 0:
      // Peripheral device addressing, bus 0 only.
      return b2 === 0 ? b3 : LUN_INVALID
    case 1:
      return (b2 - 0x40) * 256 + b3
    default:
      return LUN_INVALID
  }
}

const byte = fc.nat(255)

t.test('LUN fields decode as their text says', async (t) => {
  const known: [number[], number][] = [
    [[1, 0, 0, 0], 0],
    [[1, 5, 0, 255], 255],
    [[1, 5, 0x40, 0], 0],
    [[1, 5, 0x41, 2], 258],
    [[1, 255, 0x7f, 255], 16383],
    [[1, 0, 1, 0], LUN_INVALID],
    [[1, 0, 0x80, 0], LUN_INVALID],
    [[1, 0, 0xc1, 1], LUN_INVALID],
    [[0, 0, 0, 0], LUN_INVALID],
    [[2, 0, 0x40, 0], LUN_INVALID],
    [[0xc1, 1, 0, 0], WLUN_REPORT_LUNS],
    [[0xc1, 1, 0x77, 0x77], WLUN_REPORT_LUNS],
    [[0xc1, 2, 0, 0], LUN_INVALID],
    [[0xc0, 1, 0, 0], LUN_INVALID],
  ]
  for (const [bytes, lun] of known) {
    t.equal(decodeLun(...(bytes as [number, number, number, number])), lun, `${bytes}`)
  }
  fc.assert(
    fc.property(
      fc.oneof(byte, fc.constantFrom(1, 0xc1)),
      fc.oneof(byte, fc.constant(1)),
      byte,
      byte,
      (...bytes) => decodeLun(...bytes) === naive(bytes),
    ),
    { numRuns: 2000 },
  )
  t.pass('decodeLun agrees with the plain reading')
})

t.test('what is encoded decodes to itself, and all eight bytes are written', async (t) => {
  fc.assert(
    fc.property(byte, fc.nat(16383), fc.nat(16), (target, lun, offset) => {
      const bytes = new Uint8Array(offset + 16).fill(0xaa)
      encodeLun(bytes, offset, target, lun)
      const [b0, b1, b2, b3, ...rest] = bytes.slice(offset, offset + 8) as unknown as number[] &
        [number, number, number, number]
      if (b1 !== target || decodeLun(b0, b1, b2, b3) !== lun || rest.some((b) => b !== 0)) return false
      return bytes.every((b, i) => (i >= offset && i < offset + 8) || b === 0xaa)
    }),
  )
  const bytes = new Uint8Array(8).fill(0xaa)
  encodeLun(bytes, 0, 7, WLUN_REPORT_LUNS)
  t.same([...bytes], [0xc1, 1, 0, 0, 0, 0, 0, 0])
})
