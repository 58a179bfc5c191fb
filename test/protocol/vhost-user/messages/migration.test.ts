import fc from 'fast-check'
import t from 'tap'
import {
  DEVICE_STATE,
  decodeDeviceState,
  decodeInflight,
  decodeLog,
  encodeDeviceState,
  encodeInflight,
  encodeLog,
  INFLIGHT_DESCRIPTION,
  LOG_DESCRIPTION,
} from 'vhost-user-protocol-ts'
import { encodeAt, hex, naive, u16, u32, u53, viewAt } from '../../../support/vhost-user/naive.js'

t.test('log description', async (t) => {
  fc.assert(
    fc.property(fc.record({ mmapSize: u53, mmapOffset: u53 }), fc.nat(9), (log, offset) => {
      const bytes = encodeAt(LOG_DESCRIPTION.SIZE, offset, (view, at) => encodeLog(view, at, log))
      t.same(bytes, naive([8, log.mmapSize], [8, log.mmapOffset]))
      t.same(decodeLog(viewAt(bytes, offset), offset), log)
    }),
  )
})

t.test('inflight description: 24 bytes on the wire, 20 of them fields', async (t) => {
  const inflight = fc.record({ mmapSize: u53, mmapOffset: u53, numQueues: u16, queueSize: u16 })
  fc.assert(
    fc.property(inflight, fc.nat(9), (i, offset) => {
      const bytes = encodeAt(INFLIGHT_DESCRIPTION.SIZE, offset, (view, at) => encodeInflight(view, at, i))
      t.same(bytes, naive([8, i.mmapSize], [8, i.mmapOffset], [2, i.numQueues], [2, i.queueSize], [4, 0]))
      t.same(decodeInflight(viewAt(bytes, offset), offset), i)
      t.same(decodeInflight(viewAt(bytes.slice(0, INFLIGHT_DESCRIPTION.FIELDS), offset), offset), i)
    }),
  )
  const asked = hex('00000000 00000000 00000000 00000000 0400 8000 00000000')
  t.same(decodeInflight(viewAt(asked, 0), 0), { mmapSize: 0, mmapOffset: 0, numQueues: 4, queueSize: 128 })
})

t.test('device state transfer', async (t) => {
  fc.assert(
    fc.property(fc.record({ direction: u32, phase: u32 }), fc.nat(9), (transfer, offset) => {
      const bytes = encodeAt(DEVICE_STATE.SIZE, offset, (view, at) => encodeDeviceState(view, at, transfer))
      t.same(bytes, naive([4, transfer.direction], [4, transfer.phase]))
      t.same(decodeDeviceState(viewAt(bytes, offset), offset), transfer)
    }),
  )
})
