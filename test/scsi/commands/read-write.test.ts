import fc from 'fast-check'
import t from 'tap'
import { ERRNO } from '../../../scsi/errno.js'
import type { Nexus } from '../../../scsi/nexus.js'
import { SENSE } from '../../../scsi/sense.js'
import { ACTION, Task } from '../../../scsi/task.js'
import { FLAG } from '../../../scsi/unit-state.js'
import { fixture } from '../support/fixture.js'
import { bytes, normal } from '../support/hex.js'

function execute(nexus: Nexus, cdb: string | Uint8Array, buffer = 2 ** 50): Task {
  const task = new Task()
  task.cdbBytes.set(typeof cdb === 'string' ? bytes(cdb) : cdb)
  task.dataOutLength = buffer
  task.dataInLength = buffer
  nexus.execute(task)
  return task
}

const big = fixture({}, { capacity: 2 ** 44 }).nexus

t.test('where each form has its LBA and its length', async (t) => {
  const cases: [string, number, number][] = [
    ['08 01 02 03 04 00', 0x010203, 4],
    ['08 1f ff ff 00 00', 0x1fffff, 256],
    ['28 00 01 02 03 04 00 05 06 00', 0x01020304, 0x0506],
    ['28 00 ff ff ff ff 00 ff ff 00', 0xffffffff, 0xffff],
    ['a8 00 01 02 03 04 05 06 07 08 00 00', 0x01020304, 0x05060708],
    ['a8 00 ff ff ff ff ff ff ff ff 00 00', 0xffffffff, 0xffffffff],
    ['88 00 00 00 01 02 03 04 05 06 07 08 09 0a 00 00', 0x010203040506, 0x0708090a],
  ]
  for (const [cdb, lba, blocks] of cases) {
    for (const [opcode, action] of [
      [bytes(cdb)[0]!, ACTION.READ],
      [bytes(cdb)[0]! + 2, ACTION.WRITE],
    ] as const) {
      const task = execute(big, Uint8Array.from([opcode, ...bytes(cdb).subarray(1)]))
      t.match(task, {
        action,
        offset: lba * 512,
        length: blocks * 512,
        transferLength: blocks * 512,
        fua: false,
        guestOffset: 0,
        program: null,
      })
    }
  }
})

t.test('no blocks are no operation', async (t) => {
  for (const cdb of ['28', '2a', '88', '8a', 'a8', 'aa']) {
    t.match(execute(big, cdb), { action: ACTION.DONE, status: 0, transferLength: 0 })
  }
})

t.test('FUA on a write is durability; without a write cache every write has it', async (t) => {
  for (const opcode of ['2a', '8a', 'aa']) {
    const blocks = opcode === 'aa' ? '00 00 00 01' : opcode === '2a' ? '00 00 01' : '00*4 00 00 00 01'
    t.match(execute(big, `${opcode} 08 00*4 ${blocks}`), { action: ACTION.WRITE, fua: true })
    t.match(execute(big, `${opcode} 10 00*4 ${blocks}`), { action: ACTION.WRITE, fua: false })
  }
  const { nexus, state } = fixture()
  state.clear(FLAG.WRITE_CACHE)
  t.match(execute(nexus, '2a 00 00 00 00 00 00 00 01 00'), { fua: true })
  t.match(execute(nexus, '0a 00 00 00 01 00'), { fua: true })
  state.set(FLAG.WRITE_CACHE)
  t.match(execute(nexus, '2a 00 00 00 00 00 00 00 01 00'), { fua: false })
  t.match(execute(nexus, '0a 00 00 00 01 00'), { fua: false })
})

t.test('FUA on a read has the cache written first', async (t) => {
  const { initiator, medium } = fixture()
  medium.bytes.fill(0x5a, 512, 1024)
  t.equal(initiator.send('28 08 00 00 00 01 00 00 01 00').data, normal('5a*512'))
  t.same(medium.log, [
    [ACTION.FLUSH, 512, 512, false],
    [ACTION.READ, 512, 512, true],
  ])
  medium.faults.set(ACTION.FLUSH, ERRNO.EIO)
  t.equal(initiator.send('88 08 00*8 00 00 00 01 00 00').senseCode, SENSE.WRITE_ERROR)
  medium.faults.set(ACTION.READ, ERRNO.EIO)
  t.equal(initiator.send('a8 08 00*4 00 00 00 01 00 00').senseCode, SENSE.UNRECOVERED_READ_ERROR)
  t.match(initiator.send('28 08 00 00 00 00 00 00 00 00'), { status: 0 })
  t.equal(medium.log.length, 5)
})

t.test('ranges on the medium and beyond it', async (t) => {
  const { nexus } = fixture()
  const code = (cdb: string): number => execute(nexus, cdb).senseCode
  const { LOGICAL_BLOCK_ADDRESS_OUT_OF_RANGE: OUT } = SENSE
  t.equal(code('28 00 00 00 07 ff 00 00 01 00'), 0)
  t.equal(code('28 00 00 00 08 00 00 00 00 00'), 0)
  t.equal(code('28 00 00 00 07 ff 00 00 02 00'), OUT)
  t.equal(code('28 00 00 00 08 00 00 00 01 00'), OUT)
  t.equal(code('28 00 00 00 08 01 00 00 00 00'), OUT)
  t.equal(code('28 00 80 00 00 00 00 00 00 00'), OUT)
  t.equal(code('28 00 ff ff ff ff 00 00 00 00'), OUT)
  t.equal(code('88 00 00 00 00 01 00 00 00 00 00 00 00 01 00 00'), OUT)
  t.equal(code('88 00 00 20 00 00 00 00 00 00 00 00 00 01 00 00'), OUT)
  t.equal(code('88 00 7f ff ff ff ff ff ff ff ff ff ff ff 00 00'), OUT)
  t.equal(code('88 00 ff ff ff ff ff ff ff ff 00 00 00 01 00 00'), OUT)
  t.equal(code('88 00 ff ff ff ff ff ff ff ff 00 00 00 00 00 00'), OUT)
  t.equal(code('8a 00 ff ff ff ff ff ff ff ff ff ff ff ff 00 00'), OUT)
  t.match(execute(nexus, '88 00 ff ff ff ff ff ff ff ff 00 00 00 01 00 00').sense[0], 0x70)
})

t.test('the largest medium is used to its last block', async (t) => {
  const { nexus } = fixture({}, { capacity: 2 ** 44 })
  t.match(execute(nexus, '88 00 00 00 0f ff ff ff ff ff 00 00 00 01 00 00'), {
    action: ACTION.READ,
    offset: 2 ** 53 - 512,
    length: 512,
  })
  t.equal(
    execute(nexus, '88 00 00 00 10 00 00 00 00 00 00 00 00 01 00 00').senseCode,
    SENSE.LOGICAL_BLOCK_ADDRESS_OUT_OF_RANGE,
  )
})

t.test('the range check agrees with BigInt', async () => {
  const edge = (value: bigint): fc.Arbitrary<bigint> => fc.bigInt(-3n, 3n).map((by) => value + by)
  const lbas = fc
    .oneof(
      fc.bigInt(0n, 2n ** 64n - 1n),
      ...[2n ** 32n, 2n ** 44n, 2n ** 53n, 2n ** 63n, 2n ** 64n - 4n, 2048n].map(edge),
    )
    .map((lba) => (lba < 0n ? 0n : lba > 2n ** 64n - 1n ? 2n ** 64n - 1n : lba))
  const capacities = fc.constantFrom(1, 2048, 2 ** 32 - 1, 2 ** 32, 2 ** 32 + 1, 2 ** 44)
  const task = new Task()
  task.dataInLength = Number.MAX_SAFE_INTEGER
  task.cdbBytes[0] = 0x88
  fc.assert(
    fc.property(lbas, fc.oneof(fc.nat(4), fc.nat(2 ** 32 - 1)), capacities, (lba, blocks, capacity) => {
      const { nexus } = fixture({}, { capacity })
      task.cdb.setBigUint64(2, lba)
      task.cdb.setUint32(10, blocks)
      nexus.execute(task)
      const fits = lba + BigInt(blocks) <= BigInt(capacity)
      if (!fits) return task.senseCode === SENSE.LOGICAL_BLOCK_ADDRESS_OUT_OF_RANGE
      if (task.status !== 0) return false
      return blocks === 0 || (task.action === ACTION.READ && BigInt(task.offset) === lba * 512n)
    }),
  )
})

t.test('protection information is refused', async (t) => {
  const { nexus } = fixture()
  for (const opcode of ['28', '2a', '88', '8a', 'a8', 'aa']) {
    for (const protect of ['20', '40', '60', '80', 'a0', 'c0', 'e0']) {
      const task = execute(nexus, `${opcode} ${protect}`)
      t.equal(task.senseCode, SENSE.INVALID_FIELD_IN_CDB)
    }
  }
})

t.test('a buffer that is too short for the blocks is an overrun, a longer one leaves a residual', async (t) => {
  const { initiator, medium } = fixture()
  t.match(initiator.send('28 00 00 00 00 00 00 00 02 00', { in: 1023 }), { overrun: true, status: 0 })
  t.match(initiator.send('28 08 00 00 00 00 00 00 02 00', { in: 1023 }), { overrun: true, status: 0 })
  t.match(initiator.send('2a 00 00 00 00 00 00 00 02 00', { out: new Uint8Array(1023) }), { overrun: true })
  t.match(initiator.send('2a 00 00 00 00 00 00 00 01 00', { in: 4096 }), { overrun: true })
  t.match(initiator.send('28 00 00 00 00 00 00 00 01 00', { out: new Uint8Array(4096), in: 0 }), { overrun: true })
  t.same(medium.log, [])
  t.match(initiator.send('28 00 00 00 00 00 00 00 01 00', { in: 1000 }), { overrun: false, residual: 488 })
  t.match(initiator.send('2a 00 00 00 00 00 00 00 01 00', { out: new Uint8Array(1000) }), { residual: 488 })
})

t.test('what is written is read', async (t) => {
  for (const blockSize of [512, 4096]) {
    const { initiator } = fixture({ blockSize })
    const data = new Uint8Array(2 * blockSize).map((_, i) => (i * 7) & 0xff)
    t.equal(initiator.send('2a 00 00 00 00 05 00 00 02 00', { out: data }).status, 0)
    t.same(initiator.send('88 00 00*7 05 00 00 00 02 00 00').dataIn, data)
  }
})

t.test('errors of the medium', async (t) => {
  const { initiator, medium } = fixture()
  medium.faults.set(ACTION.READ, ERRNO.EIO)
  t.match(initiator.send('28 00 00 00 00 05 00 00 01 00'), { senseCode: SENSE.UNRECOVERED_READ_ERROR, residual: 65536 })
  medium.faults.set(ACTION.WRITE, ERRNO.ENOSPC)
  t.match(initiator.send('2a 00 00 00 00 05 00 00 01 00', { out: new Uint8Array(512) }), {
    senseCode: SENSE.SPACE_ALLOCATION_FAILED_WRITE_PROTECT,
    residual: 512,
  })
})
