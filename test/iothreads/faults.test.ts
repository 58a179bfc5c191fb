import t from 'tap'
import { CHAIN, CHAIN_FAULTS } from 'vhost-user-protocol-ts'
import {
  BIDIRECTIONAL_FAULT,
  FAULT_CODES,
  LOG_RANGE_FAULT,
  LUN_FAULT,
  RING_INDEX_FAULT,
} from '../../iothreads/faults.js'
import { READ, READ_FAULTS } from '../../iothreads/request-reader.js'

t.test('every outcome that is a fault has a name, and every name a counter', async (t) => {
  for (const [name, code] of Object.entries(READ)) if (code !== READ.OK) t.ok(READ_FAULTS[code], name)
  for (const [name, code] of Object.entries(CHAIN)) if (code < 0) t.ok(CHAIN_FAULTS[code], name)
  const names = [
    ...Object.values(READ_FAULTS),
    ...Object.values(CHAIN_FAULTS),
    BIDIRECTIONAL_FAULT,
    LOG_RANGE_FAULT,
    LUN_FAULT,
    RING_INDEX_FAULT,
  ]
  t.equal(new Set(names).size, names.length)
  t.strictSame(FAULT_CODES.toSorted(), names.sort())
  t.ok(names.every((name) => /^VUS_(RING|REQUEST)_[A-Z_]+$/.test(name)))
})
