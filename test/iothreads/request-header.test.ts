import t from 'tap'
import { CMD_REQUEST, encodeLun, WLUN_REPORT_LUNS } from 'vhost-user-protocol-ts'
import { decodeRequestHeader, TARGET_NONE } from '../../iothreads/request-header.js'
import { RequestTable } from '../../iothreads/request-table.js'

const table = new RequestTable(0, 1)
t.teardown(() => table.release())
const request = table.requests[0]!
const bytes = new Uint8Array(200)
const view = new DataView(bytes.buffer)

t.test('fields, at any place', async (t) => {
  for (const at of [0, 1, 7, 149]) {
    bytes.fill(0xff)
    encodeLun(bytes, at + CMD_REQUEST.LUN, 200, 1234)
    view.setBigUint64(at + CMD_REQUEST.TAG, 0x80000001_fffffffen, true)
    for (let i = 0; i < 32; i++) bytes[at + CMD_REQUEST.CDB + i] = i + 1
    decodeRequestHeader(request, view, at)
    t.match(request, { target: 200, lun: 1234, tagLow: -2, tagHigh: -0x7fffffff })
    t.strictSame(
      [...request.task.cdbBytes.subarray(0, 16)],
      Array.from({ length: 16 }, (_, i) => i + 1),
    )
  }
})

t.test('the bytes behind the sixteenth count for commands of variable length', async (t) => {
  bytes.fill(0)
  for (let i = 0; i < 32; i++) bytes[CMD_REQUEST.CDB + i] = 100 + i
  bytes[CMD_REQUEST.CDB] = 0x7f
  decodeRequestHeader(request, view, 0)
  t.strictSame([...request.task.cdbBytes], [0x7f, ...Array.from({ length: 31 }, (_, i) => 101 + i)])
})

t.test('LUN fields without a target', async (t) => {
  encodeLun(bytes, 0, 0, WLUN_REPORT_LUNS)
  decodeRequestHeader(request, view, 0)
  t.match(request, { target: TARGET_NONE, lun: WLUN_REPORT_LUNS })
  for (const field of [
    [0, 1, 0x40, 0],
    [1, 1, 0x80, 0],
    [1, 1, 0xff, 0xff],
    [0xc1, 0, 0, 0],
  ]) {
    bytes.set(field)
    decodeRequestHeader(request, view, 0)
    t.match(request, { target: TARGET_NONE, lun: -1 })
  }
})
