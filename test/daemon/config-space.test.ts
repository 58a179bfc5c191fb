import t from 'tap'
import { CONFIG } from 'vhost-user-protocol-ts'
import { ConfigSpace } from '../../daemon/config-space.js'
import { naive } from '../support/vhost-user/naive.js'

const bytes = (size: number, ...values: number[]): Uint8Array => naive(...values.map((value) => [size, value] as const))

t.test('what is in it', async (t) => {
  const space = new ConfigSpace(7)
  // num_queues, seg_max, max_sectors, cmd_per_lun, event_info_size, sense_size, cdb_size; max_channel, max_target; max_lun
  const expected = [...bytes(4, 7, 126, 65535, 128, 16, 96, 32), ...bytes(2, 0, 255), ...bytes(4, 16383)]
  t.same([...space.read(0, CONFIG.SIZE)!], expected)
  for (let offset = 0; offset <= CONFIG.SIZE; offset++) {
    for (const size of [0, 1, 2, 4, 36]) {
      const there = offset + size <= CONFIG.SIZE ? expected.slice(offset, offset + size) : undefined
      const read = space.read(offset, size)
      t.same(read === undefined ? undefined : [...read], there, `${size} bytes at ${offset}`)
    }
  }
  t.equal(space.read(CONFIG.SIZE + 1, 0), undefined)
})

t.test('what is read is a copy', async (t) => {
  const space = new ConfigSpace(1)
  space.read(0, 4)!.fill(0xff)
  t.same([...space.read(0, 4)!], [1, 0, 0, 0])
})

t.test('writes that change nothing are taken', async (t) => {
  const space = new ConfigSpace(1)
  t.ok(space.accepts(CONFIG.SENSE_SIZE, bytes(4, 96)))
  t.ok(space.accepts(CONFIG.CDB_SIZE, bytes(4, 32)))
  t.ok(space.accepts(CONFIG.SENSE_SIZE, bytes(4, 96, 32)))
  t.ok(space.accepts(CONFIG.CDB_SIZE, bytes(1, 32)))
  t.ok(space.accepts(CONFIG.CDB_SIZE + 1, bytes(1, 0)))
})

t.test('all others are not', async (t) => {
  const space = new ConfigSpace(1)
  t.notOk(space.accepts(CONFIG.SENSE_SIZE, bytes(4, 252)), 'another sense_size')
  t.notOk(space.accepts(CONFIG.CDB_SIZE, bytes(4, 16)), 'another cdb_size')
  t.notOk(space.accepts(CONFIG.NUM_QUEUES, bytes(4, 1)), 'a field that is read-only, unchanged')
  t.notOk(space.accepts(CONFIG.EVENT_INFO_SIZE, bytes(4, 16, 96)), 'partly so')
  t.notOk(space.accepts(CONFIG.CDB_SIZE, bytes(2, 32, 0, 0)), 'beyond the field')
  t.notOk(space.accepts(1000, bytes(1, 0)), 'beyond all')
  t.same([...space.read(CONFIG.SENSE_SIZE, 4)!], [96, 0, 0, 0])
})
