import t, { type Test } from 'tap'
import { CMD_REQUEST, CMD_RESPONSE, RESPONSE, VQ } from 'vhost-user-protocol-ts'
import { BEYOND, Bed, NOWHERE, REGIONS } from '../../support/hostile/bed.js'
import { RawGuest } from '../../support/hostile/raw-guest.js'
import {
  answer,
  DATA,
  dataIn,
  dataOut,
  header,
  type Piece,
  prepare,
  response,
  submitPieces,
  untouched,
} from '../../support/hostile/raw-request.js'
import type { ScsiCommand } from '../../support/vhost/scsi-request.js'

t.setTimeout(240_000)

const bed = await Bed.start(t, { attacks: 40 })

const TEST_UNIT_READY: ScsiCommand = { cdb: new Uint8Array(6) }
const READ_8: ScsiCommand = { cdb: [0x28, 0, 0, 0, 0, 0, 0, 0, 8, 0] }
const WRITE_8: ScsiCommand = { cdb: [0x2a, 0, 0, 0, 0, 0, 0, 0, 8, 0] }
const INQUIRY: ScsiCommand = { cdb: [0x12, 0, 0, 0, 96, 0] }
const END = REGIONS[0]!.size

async function connect(t: Test): Promise<RawGuest> {
  const guest = await RawGuest.connect(t, bed.daemon.socketPath, { memory: REGIONS, ringSize: 256, rings: 4 })
  await guest.ring(VQ.REQUEST).start()
  return guest
}

/** TEST UNIT READY is GOOD, at last: the ring works, whatever was in it before. */
async function works(t: Test, guest: RawGuest): Promise<void> {
  let status = -1
  for (let i = 0; i < 3 && status !== 0; i++) {
    prepare(guest, TEST_UNIT_READY)
    t.equal(await submitPieces(guest, [header, response]), CMD_RESPONSE.SIZE)
    status = answer(guest).status
  }
  t.equal(status, 0, 'the ring works on')
}

/** A request that is turned away: by a FAILURE where there is room for a response, else by giving the chain back empty. */
function turnsAway(
  t: Test,
  name: string,
  code: string,
  command: ScsiCommand,
  pieces: readonly Piece[],
  failure: boolean,
): Promise<unknown> {
  return bed.suffers(t, name, { [code]: 1 }, async (t) => {
    const guest = await connect(t)
    await works(t, guest)
    prepare(guest, command)
    const used = await submitPieces(guest, pieces)
    if (failure) {
      t.equal(used, CMD_RESPONSE.SIZE)
      t.match(answer(guest), { response: RESPONSE.FAILURE, status: 0 })
    } else {
      t.equal(used, 0, 'nothing was written')
      t.ok(untouched(guest))
    }
    await works(t, guest)
    await guest.close()
  })
}

const cutHeader = { ...header, length: CMD_REQUEST.SIZE - 1 }
const cutResponse = { ...response, length: CMD_RESPONSE.SIZE - 1 }

t.test('headers', async (t) => {
  const short = 'VUS_REQUEST_HEADER_SHORT'
  await turnsAway(t, 'one byte short', short, TEST_UNIT_READY, [cutHeader, response], true)
  await turnsAway(t, 'none', short, TEST_UNIT_READY, [response], true)
  await turnsAway(t, 'empty', short, TEST_UNIT_READY, [{ ...header, length: 0 }, response], true)
  const address = 'VUS_REQUEST_HEADER_ADDRESS'
  const nowhere = { ...header, address: NOWHERE }
  await turnsAway(t, 'at no memory', address, TEST_UNIT_READY, [nowhere, response], true)
  await turnsAway(t, 'beyond all', address, TEST_UNIT_READY, [{ ...header, address: BEYOND }, response], true)
  await turnsAway(t, 'over the end', address, TEST_UNIT_READY, [{ ...header, address: END - 50 }, response], true)
  await turnsAway(
    t,
    'the last byte at no memory',
    address,
    TEST_UNIT_READY,
    [cutHeader, { ...nowhere, length: 1 }, response],
    true,
  )
})

t.test('responses', async (t) => {
  const short = 'VUS_REQUEST_RESPONSE_SHORT'
  await turnsAway(t, 'one byte short', short, TEST_UNIT_READY, [header, cutResponse], false)
  await turnsAway(t, 'none', short, TEST_UNIT_READY, [header], false)
  await turnsAway(t, 'empty', short, TEST_UNIT_READY, [header, { ...response, length: 0 }], false)
  const address = 'VUS_REQUEST_RESPONSE_ADDRESS'
  const nowhere = { ...response, address: NOWHERE }
  await turnsAway(t, 'at no memory', address, TEST_UNIT_READY, [header, nowhere], false)
  await turnsAway(t, 'over the end', address, TEST_UNIT_READY, [header, { ...response, address: END - 107 }], false)
  await turnsAway(
    t,
    'the last byte at no memory',
    address,
    TEST_UNIT_READY,
    [header, cutResponse, { ...nowhere, length: 1 }],
    false,
  )
  await turnsAway(t, 'neither header nor response', 'VUS_REQUEST_HEADER_SHORT', TEST_UNIT_READY, [dataOut(1)], false)
})

t.test('data', async (t) => {
  const address = 'VUS_REQUEST_DATA_ADDRESS'
  await turnsAway(t, 'in, at no memory', address, READ_8, [header, response, dataIn(4096, NOWHERE)], true)
  await turnsAway(t, 'in, over the end', address, READ_8, [header, response, dataIn(4096, END - 4095)], true)
  await turnsAway(t, 'out, at no memory', address, WRITE_8, [header, dataOut(4096, BEYOND), response], true)
  await turnsAway(t, 'out, partly', address, WRITE_8, [header, dataOut(2048), dataOut(2048, NOWHERE), response], true)
  await turnsAway(t, 'in, 4 GiB', 'VUS_REQUEST_TOO_LONG', READ_8, [header, response, dataIn(0xffffffff)], true)
  await turnsAway(t, 'out, 4 GiB', 'VUS_REQUEST_TOO_LONG', WRITE_8, [header, dataOut(0xffffffff), response], true)
  const mebibytes = Array.from({ length: 1025 }, () => dataIn(2 ** 20))
  await turnsAway(t, 'a little more than 1 GiB', 'VUS_REQUEST_TOO_LONG', READ_8, [header, response, ...mebibytes], true)
  const bytes = Array.from({ length: 1025 }, (_, i) => dataIn(4, DATA + 4 * i))
  await turnsAway(t, '1,025 segments', 'VUS_REQUEST_TOO_MANY_SEGMENTS', READ_8, [header, response, ...bytes], true)
  const both = 'VUS_REQUEST_BIDIRECTIONAL'
  await turnsAway(t, 'in and out', both, READ_8, [header, dataOut(512), response, dataIn(4096)], true)
})

t.test('no more than a request may have', async (t) => {
  await bed.suffers(t, '1,024 segments', {}, async (t) => {
    const guest = await connect(t)
    await works(t, guest)
    const segments = Array.from({ length: 1024 }, (_, i) => i)
    const data = guest.memory.bytes(DATA, 8192).map((_, i) => i * 3 + 1)
    guest.memory.bytes(DATA, 8192).set(data)
    prepare(guest, WRITE_8)
    await submitPieces(guest, [header, ...segments.map((i) => dataOut(4, DATA + 8 * i)), response])
    t.match(answer(guest), { response: 0, status: 0, residual: 0 })
    guest.memory.bytes(DATA, 8192).fill(0)
    prepare(guest, READ_8)
    // The other way round, by segments.
    await submitPieces(guest, [header, response, ...segments.map((i) => dataIn(4, DATA + 4 * (1023 - i)))])
    t.match(answer(guest), { response: 0, status: 0, residual: 0 })
    const back = guest.memory.bytes(DATA, 4096)
    const wrong = segments.filter(
      (i) => Buffer.compare(back.slice(4 * (1023 - i), 4 * (1024 - i)), data.slice(8 * i, 8 * i + 4)) !== 0,
    )
    t.same(wrong, [], 'all came back')
    await guest.close()
  })
})

t.test('targets and logical units', async (t) => {
  const format = 'VUS_REQUEST_LUN_FORMAT'
  const forms: Record<string, number[]> = {
    'no virtio LUN': [0, 0, 0x40, 0],
    'extended addressing': [1, 0, 0xc1, 1],
    'bus addressing': [1, 0, 0x80, 0],
    'another well-known unit': [0xc1, 2, 0, 0],
  }
  for (const [name, bytes] of Object.entries(forms)) {
    await bed.suffers(t, name, { [format]: 1 }, async (t) => {
      const guest = await connect(t)
      prepare(guest, { ...INQUIRY, lunField: [...bytes, 0, 0, 0, 0] })
      t.equal(await submitPieces(guest, [header, response, dataIn(96)]), CMD_RESPONSE.SIZE)
      t.match(answer(guest), { response: RESPONSE.BAD_TARGET, residual: 96 })
      await works(t, guest)
      await guest.close()
    })
  }
  await bed.suffers(t, 'those that are merely not there', {}, async (t) => {
    const guest = await connect(t)
    const ask = async (target: number, lun: number, cdb: ArrayLike<number>) => {
      prepare(guest, { cdb, target, lun })
      await submitPieces(guest, [header, response, dataIn(96)])
      return answer(guest)
    }
    for (const target of [1, 2, 255]) t.match(await ask(target, 0, INQUIRY.cdb), { response: RESPONSE.BAD_TARGET })
    for (const lun of [1, 255, 256, 16383]) {
      t.match(await ask(0, lun, INQUIRY.cdb), { response: 0, status: 0 }, `INQUIRY of LUN ${lun}`)
      t.equal(guest.memory.bytes(DATA, 1)[0], 0x7f, 'no such unit')
      const read = await ask(0, lun, READ_8.cdb)
      t.match(read, { response: 0, status: 2 })
      t.same([read.sense[2]! & 15, read.sense[12], read.sense[13]], [5, 0x25, 0], 'LOGICAL UNIT NOT SUPPORTED')
    }
    prepare(guest, { ...INQUIRY, lunField: [0xc1, 1, 0, 0, 0, 0, 0, 0] })
    await submitPieces(guest, [header, response, dataIn(96)])
    t.match(answer(guest), { response: 0, status: 0 })
    t.equal(guest.memory.bytes(DATA, 1)[0], 0x1e, 'a well-known logical unit')
    await works(t, guest)
    await guest.close()
  })
})

t.test('buffers smaller than what the CDB asks for', async (t) => {
  await bed.suffers(t, 'are an overrun', {}, async (t) => {
    const guest = await connect(t)
    await works(t, guest)
    for (const [name, command, pieces] of [
      ['no data-in', READ_8, [header, response]],
      ['a byte too few in', READ_8, [header, response, dataIn(4095)]],
      ['no data-out', WRITE_8, [header, response]],
      ['a byte too few out', WRITE_8, [header, dataOut(4095), response]],
    ] as const) {
      prepare(guest, command)
      t.equal(await submitPieces(guest, pieces), CMD_RESPONSE.SIZE, name)
      t.match(answer(guest), { response: RESPONSE.OVERRUN }, name)
    }
    await works(t, guest)
    await guest.close()
  })
})
