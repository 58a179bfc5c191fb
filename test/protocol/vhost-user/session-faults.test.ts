import { close, createEventfd, createMemfd } from 'memfd-mmap'
import t from 'tap'
import {
  encodeMemoryTable,
  encodeSingleRegion,
  encodeVringFd,
  encodeVringState,
  type MemoryRegion,
  memoryTableBytes,
  FRONT_END_REQUEST as REQUEST,
} from 'vhost-user-protocol-ts'
import { frame } from '../../support/vhost-user/frame.js'
import { Harness, leakless, MEMORY_SIZE, region } from '../../support/vhost-user/harness.js'

const VERSION = 0x1
const NEED_REPLY = 0x9

const table = (...regions: MemoryRegion[]): Uint8Array => {
  const payload = new Uint8Array(memoryTableBytes(regions.length))
  encodeMemoryTable(new DataView(payload.buffer), 0, regions)
  return payload
}

const single = (one: MemoryRegion): Uint8Array => {
  const payload = new Uint8Array(40)
  encodeSingleRegion(new DataView(payload.buffer), 0, one)
  return payload
}

const state = (index: number, num: number): Uint8Array => {
  const payload = new Uint8Array(8)
  encodeVringState(new DataView(payload.buffer), 0, { index, num })
  return payload
}

const ringFd = (index: number, hasFd: boolean): Uint8Array => {
  const payload = new Uint8Array(8)
  encodeVringFd(new DataView(payload.buffer), 0, { index, hasFd })
  return payload
}

const huge = (): Uint8Array => {
  const payload = single(region())
  payload.fill(0xff, 8, 16)
  return payload
}

const BYTES = (count: number): Uint8Array => new Uint8Array(count)

/** Bytes, descriptors that come with them, and what they are. */
type Fault = [name: string, bytes: Uint8Array, fds: number, code: string]

/** These end the connection, whether an acknowledgement is asked for or not. */
const WIRE: Fault[] = [
  [
    'garbage instead of a header',
    Buffer.from('\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\x0a'),
    0,
    'VUS_BAD_VERSION',
  ],
  ['zeros', BYTES(64), 0, 'VUS_BAD_VERSION'],
  ['version 2', frame(REQUEST.GET_FEATURES, 0x2), 0, 'VUS_BAD_VERSION'],
  ['a reserved flag', frame(REQUEST.GET_FEATURES, 0x11), 0, 'VUS_RESERVED_FLAGS'],
  ['the reply flag', frame(REQUEST.GET_FEATURES, 0x5), 0, 'VUS_REPLY_FLAG'],
  ['payload too large', frame(REQUEST.SET_MEM_TABLE, NEED_REPLY, BYTES(269)), 0, 'VUS_PAYLOAD_TOO_LARGE'],
  ['4 GiB announced', frame(REQUEST.SET_MEM_TABLE, VERSION, BYTES(0), 0xffffffff), 0, 'VUS_PAYLOAD_TOO_LARGE'],
  ['payload too short', frame(REQUEST.SET_FEATURES, NEED_REPLY, BYTES(7)), 0, 'VUS_PAYLOAD_SIZE'],
  ['payload too long', frame(REQUEST.SET_FEATURES, NEED_REPLY, BYTES(9)), 0, 'VUS_PAYLOAD_SIZE'],
  ['payload where none belongs', frame(REQUEST.SET_OWNER, NEED_REPLY, BYTES(1)), 0, 'VUS_PAYLOAD_SIZE'],
  [
    'a table shorter than its count',
    frame(REQUEST.SET_MEM_TABLE, NEED_REPLY, table(region()).slice(0, 39)),
    1,
    'VUS_PAYLOAD_SIZE',
  ],
  [
    'a table with too few descriptors',
    frame(REQUEST.SET_MEM_TABLE, NEED_REPLY, table(region(), region(1))),
    1,
    'VUS_FD_COUNT',
  ],
  ['a table with too many descriptors', frame(REQUEST.SET_MEM_TABLE, NEED_REPLY, table(region())), 2, 'VUS_FD_COUNT'],
  ['a region without a descriptor', frame(REQUEST.ADD_MEM_REG, NEED_REPLY, single(region())), 0, 'VUS_FD_COUNT'],
  ['a region with two', frame(REQUEST.ADD_MEM_REG, NEED_REPLY, single(region())), 2, 'VUS_FD_COUNT'],
  ['a descriptor where none belongs', frame(REQUEST.GET_FEATURES, VERSION), 1, 'VUS_FD_COUNT'],
  ['nine descriptors', frame(REQUEST.SET_MEM_TABLE, NEED_REPLY, table()), 9, 'VUS_FD_COUNT'],
  ['a kick without its descriptor', frame(REQUEST.SET_VRING_KICK, NEED_REPLY, ringFd(0, true)), 0, 'VUS_FD_COUNT'],
  ['a call with one it denies', frame(REQUEST.SET_VRING_CALL, NEED_REPLY, ringFd(0, false)), 1, 'VUS_FD_COUNT'],
  ['a region size of 2^64 - 1', frame(REQUEST.ADD_MEM_REG, NEED_REPLY, huge()), 1, 'VUS_NUMBER_RANGE'],
  ['a ring enabled with 2', frame(REQUEST.SET_VRING_ENABLE, NEED_REPLY, state(0, 2)), 0, 'VUS_BAD_PAYLOAD'],
  [
    'ring index bits beyond 8',
    frame(REQUEST.SET_VRING_ERR, NEED_REPLY, Uint8Array.of(0, 2, 0, 0, 0, 0, 0, 0)),
    1,
    'VUS_BAD_PAYLOAD',
  ],
  [
    'a config write beyond its payload',
    frame(REQUEST.SET_CONFIG, NEED_REPLY, Uint8Array.of(0, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3)),
    0,
    'VUS_PAYLOAD_SIZE',
  ],
]

/** These are refused: by a nack when one is asked for; otherwise they end the connection. */
const REFUSED: Fault[] = [
  ['an unknown request', frame(46, VERSION), 0, 'VUS_UNKNOWN_REQUEST'],
  ['request 0 with descriptors', frame(0, VERSION, BYTES(12)), 3, 'VUS_UNKNOWN_REQUEST'],
  ['request 2^32 - 1', frame(0xffffffff, VERSION), 0, 'VUS_UNKNOWN_REQUEST'],
  ['an empty region', frame(REQUEST.ADD_MEM_REG, VERSION, single({ ...region(), size: 0 })), 1, 'VUS_REGION_EMPTY'],
  [
    'a region that wraps around',
    frame(REQUEST.ADD_MEM_REG, VERSION, single({ ...region(), guestAddress: 2 ** 53 - 4096 })),
    1,
    'VUS_REGION_OVERFLOW',
  ],
  [
    'overlapping guest addresses',
    frame(REQUEST.SET_MEM_TABLE, VERSION, table(region(), { ...region(1), guestAddress: MEMORY_SIZE - 1 })),
    2,
    'VUS_REGION_OVERLAP',
  ],
  [
    'overlapping user addresses',
    frame(REQUEST.SET_MEM_TABLE, VERSION, table(region(), { ...region(), guestAddress: 2 * MEMORY_SIZE })),
    2,
    'VUS_REGION_OVERLAP',
  ],
  [
    'nine regions',
    frame(REQUEST.SET_MEM_TABLE, VERSION, Uint8Array.of(9, 0, 0, 0, 0, 0, 0, 0)),
    0,
    'VUS_TOO_MANY_REGIONS',
  ],
  ['a region that is not there', frame(REQUEST.REM_MEM_REG, VERSION, single(region())), 0, 'VUS_UNKNOWN_REGION'],
  ['a size for a ring out of range', frame(REQUEST.SET_VRING_NUM, VERSION, state(4, 128)), 0, 'VUS_RING_INDEX'],
  ['a base for ring 2^32 - 1', frame(REQUEST.SET_VRING_BASE, VERSION, state(0xffffffff, 0)), 0, 'VUS_RING_INDEX'],
  ['enabling a ring out of range', frame(REQUEST.SET_VRING_ENABLE, VERSION, state(4, 1)), 0, 'VUS_RING_INDEX'],
  ['a kick for a ring out of range', frame(REQUEST.SET_VRING_KICK, VERSION, ringFd(255, true)), 1, 'VUS_RING_INDEX'],
  ['a ring of 96', frame(REQUEST.SET_VRING_NUM, VERSION, state(2, 96)), 0, 'VUS_RING_SIZE'],
  [
    'features that were not offered',
    frame(REQUEST.SET_FEATURES, VERSION, Uint8Array.of(6, 0, 0, 80, 5, 0, 0, 0)),
    0,
    'VUS_FEATURES_NOT_OFFERED',
  ],
  [
    'protocol features likewise',
    frame(REQUEST.SET_PROTOCOL_FEATURES, VERSION, Uint8Array.of(2, 0, 0, 0, 0, 0, 0, 0)),
    0,
    'VUS_FEATURES_NOT_OFFERED',
  ],
]

const negotiated = async (): Promise<Harness> => {
  const harness = new Harness()
  await harness.negotiate()
  return harness
}

const withFds = (count: number, send: (fds: number[]) => void): void => {
  const fds = Array.from({ length: count }, (_, i) => (i === 0 ? createEventfd() : createMemfd('guest', MEMORY_SIZE)))
  send(fds)
  for (const fd of fds) close(fd)
}

for (const [name, bytes, fds, code] of WIRE) {
  leakless(t, name, async (t) => {
    const harness = await negotiated()
    withFds(fds, (list) => harness.frontEnd.sendRaw(bytes, list))
    t.equal((await harness.ended()).code, code)
    t.same(harness.device.take(), ['disconnect'])
    t.same(harness.reports.codes('error'), [code], 'reported once')
    harness.frontEnd.close()
  })
}

for (const [name, bytes, fds, code] of REFUSED) {
  leakless(t, name, async (t) => {
    const silent = await negotiated()
    withFds(fds, (list) => silent.frontEnd.sendRaw(bytes, list))
    t.equal((await silent.ended()).code, code, 'without need_reply: the end')
    silent.frontEnd.close()
    const asking = await negotiated()
    const { frontEnd, session, reports } = asking
    const request = new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true)
    for (let i = 0; i < 3; i++) {
      const fdList = Array.from({ length: fds }, () => createMemfd('guest', MEMORY_SIZE))
      await t.rejects(frontEnd.command(request, bytes.subarray(12), fdList), { code: 'VUS_NACK', request })
      for (const fd of fdList) close(fd)
    }
    t.same(reports.codes('warn'), [code], 'with it: a nack, and one line in the log however often')
    t.same(session.regions, [])
    t.same(asking.device.take(), [], 'the device hears nothing of it')
    t.equal((await asking.leave()).code, 'VUS_PEER_CLOSED')
  })
}

leakless(t, 'an end inside of a message', async (t) => {
  const harness = await negotiated()
  const fd = createMemfd('guest', MEMORY_SIZE)
  harness.frontEnd.sendRaw(frame(REQUEST.ADD_MEM_REG, VERSION, single(region())).subarray(0, 30), [fd])
  close(fd)
  t.equal((await harness.leave()).code, 'VUS_TRUNCATED')
})
