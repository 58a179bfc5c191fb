import { closeSync, openSync } from 'node:fs'
import { close, connectUnix, createEventfd, createMemfd, MessageSocket } from 'memfd-mmap'
import t from 'tap'
import {
  encodeSingleRegion,
  FrontEnd,
  HEADER,
  HEADER_FLAG,
  maskPayload,
  FRONT_END_REQUEST as REQUEST,
  SINGLE_REGION,
} from 'vhost-user-protocol-ts'
import { Bed, soon } from '../../support/hostile/bed.js'
import { frame, vringFd, vringState } from '../../support/hostile/frame.js'

t.setTimeout(240_000)

const bed = await Bed.start(t, { attacks: 40 })

const { VERSION, REPLY, NEED_REPLY } = HEADER_FLAG
const NONE = new Uint8Array(0)

/** Sends raw bytes as the first thing on a connection; resolves when the daemon has ended it. */
async function send(bytes: Uint8Array, fds: readonly number[] = []): Promise<void> {
  const frontEnd = FrontEnd.connect(bed.daemon.socketPath)
  try {
    frontEnd.sendRaw(bytes, fds)
    await soon('the end of the connection', frontEnd.closed)
  } finally {
    frontEnd.close()
    for (const fd of fds) close(fd)
  }
}

const eventfds = (count: number): number[] => Array.from({ length: count }, () => createEventfd())

/** Something that is no vhost-user at all, always the same. */
function noise(length: number): Uint8Array {
  let state = 0x2545f491
  return new Uint8Array(length).map(() => {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0
    return state >>> 16
  })
}

t.test('headers', async (t) => {
  await bed.suffers(t, 'an HTTP request', { VUS_BAD_VERSION: 1 }, () =>
    // "GET / HTTP/1.": the flags are "/ HT", whose version bits are 3.
    send(new TextEncoder().encode('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n')),
  )
  await bed.suffers(t, 'noise', { VUS_BAD_VERSION: 1 }, () => send(noise(4096)))
  await bed.suffers(t, 'zeros', { VUS_BAD_VERSION: 1 }, () => send(new Uint8Array(12)))
  await bed.suffers(t, 'flags without a meaning', { VUS_RESERVED_FLAGS: 1 }, () =>
    send(frame(REQUEST.GET_FEATURES, VERSION | 0x10)),
  )
  await bed.suffers(t, 'a reply where a request is due', { VUS_REPLY_FLAG: 1 }, () =>
    send(frame(REQUEST.GET_FEATURES, VERSION | REPLY)),
  )
  await bed.suffers(t, 'a payload of 4 GiB', { VUS_PAYLOAD_TOO_LARGE: 1 }, () =>
    send(frame(REQUEST.SET_CONFIG, VERSION, NONE, 0xffffffff)),
  )
  await bed.suffers(t, 'a payload that is a little too large', { VUS_PAYLOAD_TOO_LARGE: 1 }, () =>
    send(frame(REQUEST.SET_CONFIG, VERSION, NONE, 12 + 256 + 1)),
  )
  await bed.suffers(t, 'half a header', { VUS_TRUNCATED: 1 }, async () => {
    const frontEnd = FrontEnd.connect(bed.daemon.socketPath)
    frontEnd.sendRaw(frame(REQUEST.GET_FEATURES, VERSION).subarray(0, 7))
    await soon('the end', frontEndGone(frontEnd))
  })
})

/** Leaves in the middle of whatever was sent. */
function frontEndGone(frontEnd: FrontEnd): Promise<unknown> {
  frontEnd.close()
  return frontEnd.closed
}

t.test('payloads and descriptors', async (t) => {
  await bed.suffers(t, 'a payload too short', { VUS_PAYLOAD_SIZE: 1 }, () =>
    send(frame(REQUEST.SET_VRING_NUM, VERSION, new Uint8Array(4))),
  )
  await bed.suffers(t, 'a payload where none belongs', { VUS_PAYLOAD_SIZE: 1 }, () =>
    send(frame(REQUEST.GET_FEATURES, VERSION, new Uint8Array(8))),
  )
  await bed.suffers(t, 'a payload cut off', { VUS_TRUNCATED: 1 }, async () => {
    const frontEnd = FrontEnd.connect(bed.daemon.socketPath)
    frontEnd.sendRaw(frame(REQUEST.SET_FEATURES, VERSION, maskPayload(0n)).subarray(0, HEADER.LENGTH + 3))
    await soon('the end', frontEndGone(frontEnd))
  })
  await bed.suffers(t, 'more memory regions than the payload has', { VUS_PAYLOAD_SIZE: 1 }, () => {
    const payload = new Uint8Array(8 + 32)
    new DataView(payload.buffer).setUint32(0, 2, true)
    return send(frame(REQUEST.SET_MEM_TABLE, VERSION, payload), eventfds(2))
  })
  await bed.suffers(t, 'four billion memory regions', { VUS_TOO_MANY_REGIONS: 1 }, () => {
    const payload = new Uint8Array(8 + 32)
    new DataView(payload.buffer).setUint32(0, 0xffffffff, true)
    return send(frame(REQUEST.SET_MEM_TABLE, VERSION, payload), eventfds(1))
  })
  await bed.suffers(t, 'a descriptor that nobody asked for', { VUS_FD_COUNT: 1 }, () =>
    send(frame(REQUEST.GET_FEATURES, VERSION), eventfds(1)),
  )
  await bed.suffers(t, 'fewer descriptors than regions', { VUS_FD_COUNT: 1 }, () => {
    const payload = new Uint8Array(8 + 64)
    const view = new DataView(payload.buffer)
    view.setUint32(0, 2, true)
    return send(frame(REQUEST.SET_MEM_TABLE, VERSION, payload), eventfds(1))
  })
  await bed.suffers(t, 'more descriptors than any message has', { VUS_FD_COUNT: 1 }, () =>
    send(frame(REQUEST.SET_MEM_TABLE, VERSION, new Uint8Array(8)), eventfds(9)),
  )
  await bed.suffers(t, 'descriptors that dribble in byte by byte', { VUS_FD_COUNT: 1 }, async () => {
    const frontEnd = FrontEnd.connect(bed.daemon.socketPath)
    const bytes = frame(REQUEST.SET_MEM_TABLE, VERSION, new Uint8Array(8 + 32))
    const fds = eventfds(4)
    try {
      for (const byte of bytes) {
        try {
          frontEnd.sendRaw(Uint8Array.of(byte), fds)
        } catch {
          break
        }
      }
      await soon('the end of the connection', frontEnd.closed)
    } finally {
      frontEnd.close()
      for (const fd of fds) close(fd)
    }
  })
})

t.test('messages for rings', async (t) => {
  await bed.suffers(t, 'a kick without its descriptor', { VUS_FD_COUNT: 1 }, () =>
    send(frame(REQUEST.SET_VRING_KICK, VERSION, vringFd(2, true))),
  )
  await bed.suffers(t, 'a kick with a descriptor that it denies', { VUS_FD_COUNT: 1 }, () =>
    send(frame(REQUEST.SET_VRING_KICK, VERSION, vringFd(2, false)), eventfds(1)),
  )
  await bed.suffers(t, 'a kick descriptor that is no eventfd', { VUS_NOT_AN_EVENTFD: 1 }, () =>
    send(frame(REQUEST.SET_VRING_KICK, VERSION, vringFd(2, true)), [createMemfd('x', 4096)]),
  )
  await bed.suffers(t, 'a call descriptor that is a directory', { VUS_NOT_AN_EVENTFD: 1 }, async () => {
    const directory = openSync('/', 'r')
    const frontEnd = FrontEnd.connect(bed.daemon.socketPath)
    frontEnd.sendRaw(frame(REQUEST.SET_VRING_CALL, VERSION, vringFd(0, true)), [directory])
    closeSync(directory)
    await soon('the end of the connection', frontEnd.closed)
    frontEnd.close()
  })
  await bed.suffers(t, 'a ring that there is not', { VUS_RING_INDEX: 1 }, () =>
    send(frame(REQUEST.SET_VRING_NUM, VERSION, vringState(6, 128))),
  )
  await bed.suffers(t, 'the ring with the highest number', { VUS_RING_INDEX: 1 }, () =>
    send(frame(REQUEST.SET_VRING_NUM, VERSION, vringState(0xffffffff, 128))),
  )
  await bed.suffers(t, 'a ring enabled twice over', { VUS_BAD_PAYLOAD: 1 }, () =>
    send(frame(REQUEST.SET_VRING_ENABLE, VERSION, vringState(2, 2))),
  )
  await bed.suffers(t, 'the base of a ring that there is not', { VUS_RING_INDEX: 1 }, () =>
    send(frame(REQUEST.GET_VRING_BASE, VERSION, vringState(77, 0))),
  )
})

t.test('requests that are not served', async (t) => {
  await bed.suffers(t, 'a request that nobody has defined', { VUS_UNKNOWN_REQUEST: 1 }, () =>
    send(frame(4711, VERSION)),
  )
  await bed.suffers(t, 'the same with need_reply, which was not negotiated', { VUS_UNKNOWN_REQUEST: 1 }, () =>
    send(frame(0, VERSION | NEED_REPLY)),
  )
  await bed.suffers(t, 'memory slots before they were negotiated', { VUS_NOT_NEGOTIATED: 1 }, () => {
    const payload = new Uint8Array(SINGLE_REGION.SIZE)
    const region = { guestAddress: 0, size: 4096, userAddress: 4096, mmapOffset: 0 }
    encodeSingleRegion(new DataView(payload.buffer), 0, region)
    return send(frame(REQUEST.ADD_MEM_REG, VERSION, payload), [createMemfd('x', 4096)])
  })
  await bed.suffers(t, 'features that were not offered', { VUS_FEATURES_NOT_OFFERED: 1 }, () =>
    send(frame(REQUEST.SET_FEATURES, VERSION, maskPayload(1n << 40n))),
  )
  await bed.suffers(t, 'protocol features that were not offered', { VUS_FEATURES_NOT_OFFERED: 1 }, () =>
    send(frame(REQUEST.SET_PROTOCOL_FEATURES, VERSION, maskPayload(1n << 63n))),
  )
})

t.test('a front end that does not read', async (t) => {
  await bed.suffers(t, 'thousands of questions', { VUS_SOCKET_ERROR: 1 }, async (t) => {
    const fd = connectUnix(bed.daemon.socketPath)
    const socket = new MessageSocket(fd)
    const bytes = frame(REQUEST.GET_FEATURES, VERSION)
    let sent = 0
    // Until the daemon, whose answers nobody takes, has taken nothing more for a thousand turns.
    for (let refused = 0; refused < 1000 && sent < 1_000_000; ) {
      if (socket.send(bytes, 0, bytes.length) === bytes.length) {
        sent++
        refused = 0
      } else {
        refused++
        await new Promise((resolve) => setImmediate(resolve))
      }
    }
    t.ok(sent < 1_000_000, `no more was taken after ${sent} requests`)
    close(fd)
  })
  await bed.suffers(t, 'connections that only come and go', {}, async () => {
    for (let i = 0; i < 200; ) {
      try {
        close(connectUnix(bed.daemon.socketPath))
        i++
      } catch (error) {
        // The backlog is full for the moment.
        if ((error as { code?: string }).code !== 'EAGAIN') throw error
        await new Promise((resolve) => setImmediate(resolve))
      }
    }
  })
})
