import t from 'tap'
import { type ChainSegment, CMD_RESPONSE } from 'vhost-user-protocol-ts'
import { RequestReader } from '../../iothreads/request-reader.js'
import { ResponseWriter } from '../../iothreads/response-writer.js'
import { QueueRig } from '../support/iothreads/queue-rig.js'
import { readResult } from '../support/vhost/scsi-request.js'

const BASE = 0x10_0000

/** A request with its response at the given places, and what is there after a write. */
t.test('all 108 bytes are written, and no other', async (t) => {
  const rig = new QueueRig(t, { units: [], regions: [{ guestAddress: BASE, size: 2 ** 20 }] })
  const writer = new ResponseWriter(rig.guest)
  const reader = new RequestReader(rig.guest, rig.queue.virtqueue, rig.table, true)
  const bytes = rig.memory.bytes(BASE + 0x8_0000, 4096)
  const at = BASE + 0x8_0000
  const layouts: [number, number][][] = [
    [[1000, 108]],
    [[1001, 108]],
    [
      [1000, 1],
      [2000, 107],
    ],
    [
      [3000, 54],
      [1003, 54],
    ],
    Array.from({ length: 54 }, (_, i) => [10 * i, 2]),
  ]
  for (const layout of layouts) {
    const segments: ChainSegment[] = [
      { address: at + 4000, length: 51, writable: false },
      ...layout.map(([offset, length]) => ({ address: at + offset, length, writable: true })),
    ]
    const request = rig.table.take()!
    t.equal(rig.read(reader, request, segments), 0)
    const answer = (): Uint8Array => {
      const parts = layout.flatMap(([offset, length]) => [...bytes.subarray(offset, offset + length)])
      const others = bytes.length - parts.length
      let untouched = 0
      bytes.forEach((byte, i) => {
        if (byte === 0xee && !layout.some(([offset, length]) => i >= offset && i < offset + length)) untouched++
      })
      t.equal(untouched, others)
      return Uint8Array.from(parts)
    }
    bytes.fill(0xee)
    request.task.fail(0x052400)
    writer.write(request, 0, 2, request.task.senseLength, 0xfffffff0)
    const failed = answer()
    t.match(readResult(failed, failed, 0), { response: 0, status: 2, statusQualifier: 0, residual: 0xfffffff0 })
    t.strictSame(failed.subarray(12, 30), request.task.sense.subarray(0, 18))
    t.ok(failed.subarray(30).every((byte) => byte === 0))
    bytes.fill(0xee)
    writer.write(request, 255, 255, 0, 0)
    const odd = answer()
    t.equal(odd[CMD_RESPONSE.STATUS], 255)
    t.equal(odd[CMD_RESPONSE.RESPONSE], 255)
    t.equal(odd.filter((byte) => byte === 0).length, 106, 'old sense data is gone')
    // Sense data of the longest size.
    bytes.fill(0xee)
    request.task.sense.fill(0x77)
    writer.write(request, 0, 2, 96, 0)
    t.ok(
      answer()
        .subarray(12)
        .every((byte) => byte === 0x77),
    )
    rig.table.give(request)
  }
})

t.test('a request without a response gets none', async (t) => {
  const rig = new QueueRig(t, { units: [], regions: [{ guestAddress: BASE, size: 2 ** 20 }] })
  const bytes = rig.memory.bytes(BASE, 2 ** 20)
  const before = bytes.slice()
  const request = rig.table.take()!
  request.responseWindow = -1
  request.scatterCount = 0
  new ResponseWriter(rig.guest).write(request, 9, 9, 0, 9)
  t.strictSame(
    bytes.every((byte, i) => byte === before[i]),
    true,
  )
})
