import { close, createEventfd, createMemfd, socketPair } from 'memfd-mmap'
import t from 'tap'
import {
  encodeMemoryTable,
  type FrontEnd,
  type MemoryRegion,
  memoryTableBytes,
  NackError,
} from 'vhost-user-protocol-ts'
import { Bed, soon, writeAndRead } from '../../support/hostile/bed.js'
import { frame } from '../../support/hostile/frame.js'
import type { Initiator } from '../../support/vhost/initiator.js'

t.setTimeout(240_000)

const bed = await Bed.start(t, { attacks: 30 })

const MIB = 2 ** 20
const USER = 0x7e00_0000_0000

const region = (guestAddress: number, size: number, overrides: Partial<MemoryRegion> = {}): MemoryRegion => ({
  guestAddress,
  size,
  userAddress: USER + guestAddress,
  mmapOffset: 0,
  ...overrides,
})

/** Hands over one region more; whether it was refused. The descriptor is closed. */
async function refused(frontEnd: FrontEnd, one: MemoryRegion, fd = createMemfd('more', MIB)): Promise<boolean> {
  try {
    await soon('the answer', frontEnd.addMemReg(one, fd))
    return false
  } catch (error) {
    if (error instanceof NackError) return true
    throw error
  } finally {
    close(fd)
  }
}

t.test('regions that are refused, on a connection that goes on', async (t) => {
  /** Starts I/O, does it, and looks whether I/O still goes. */
  const refuses = (name: string, code: string, attempt: (initiator: Initiator) => Promise<boolean>) =>
    bed.suffers(t, name, { [code]: 1 }, async (t) => {
      const initiator = await bed.connect(t)
      t.equal(await attempt(initiator), true, 'refused')
      await writeAndRead(initiator, 0, 1)
      await initiator.close()
    })
  await refuses('guest addresses that overlap', 'VUS_REGION_OVERLAP', ({ frontEnd }) =>
    refused(frontEnd, region(7 * MIB, 2 * MIB)),
  )
  await refuses('user addresses that overlap', 'VUS_REGION_OVERLAP', ({ frontEnd, memory }) =>
    refused(frontEnd, region(2 ** 36, MIB, { userAddress: memory.regions[0]!.userAddress - MIB / 2 })),
  )
  await refuses('a region within another', 'VUS_REGION_OVERLAP', ({ frontEnd }) => refused(frontEnd, region(MIB, 4096)))
  await refuses('an empty region', 'VUS_REGION_EMPTY', ({ frontEnd }) => refused(frontEnd, region(2 ** 36, 0)))
  await refuses('a region beyond 2^53', 'VUS_REGION_OVERFLOW', ({ frontEnd }) =>
    refused(frontEnd, region(2 ** 36, 2 ** 53 - 2 ** 35)),
  )
  await refuses('a region longer than its file', 'VUS_REGION_FILE_SIZE', ({ frontEnd }) =>
    refused(frontEnd, region(2 ** 36, MIB + 1)),
  )
  await refuses('a region at an offset longer than its file', 'VUS_REGION_FILE_SIZE', ({ frontEnd }) =>
    refused(frontEnd, region(2 ** 36, MIB, { mmapOffset: 1 })),
  )
  await refuses('a region of which there is no file', 'VUS_REGION_FILE_SIZE', ({ frontEnd }) =>
    refused(frontEnd, region(2 ** 36, MIB), createEventfd()),
  )
  await refuses('a region in a socket', 'VUS_REGION_FILE_SIZE', ({ frontEnd }) => {
    const [one, other] = socketPair()
    close(other)
    return refused(frontEnd, region(2 ** 36, MIB), one)
  })
})

t.test('regions that no process can map', async (t) => {
  await bed.suffers(t, '2^52 bytes', { VUS_REGION_MAP: 1 }, async (t) => {
    const initiator = await bed.connect(t)
    t.ok(await refused(initiator.frontEnd, region(2 ** 50, 2 ** 52 - 2 ** 50), createMemfd('sparse', 2 ** 52)))
    await initiator.close()
  })
  await bed.suffers(t, '16 TiB of sparse memory', {}, async (t) => {
    const initiator = await bed.connect(t)
    const size = 2 ** 44
    const one = region(size, size)
    t.notOk(await refused(initiator.frontEnd, one, createMemfd('sparse', size)), 'it may')
    await writeAndRead(initiator, 1, 2)
    await initiator.frontEnd.remMemReg(one)
    await writeAndRead(initiator, 1, 3)
    await initiator.close()
  })
  await bed.suffers(t, 'more regions than slots', { VUS_TOO_MANY_REGIONS: 1 }, async (t) => {
    const initiator = await bed.connect(t, { stopped: true })
    await initiator.shareMemory()
    const fd = createMemfd('small', 4096)
    t.teardown(() => close(fd))
    let added = 0
    try {
      for (;;) {
        await soon('the answer', initiator.frontEnd.addMemReg(region(2 ** 36 + 8192 * added, 4096), fd))
        added++
      }
    } catch (error) {
      t.type(error, NackError)
    }
    t.equal(added, initiator.negotiated.maxMemSlots - initiator.memory.regions.length)
    await initiator.start()
    await writeAndRead(initiator, 1, 2)
    await initiator.close()
  })
})

t.test('regions that end the connection', async (t) => {
  const table = (regions: readonly MemoryRegion[]): Uint8Array => {
    const payload = new Uint8Array(memoryTableBytes(regions.length))
    encodeMemoryTable(new DataView(payload.buffer), 0, regions)
    return payload
  }
  /** A whole table without need_reply, while rings run. */
  const ends = (name: string, code: string, payload: Uint8Array, count: number) =>
    bed.suffers(t, name, { [code]: 1 }, async (t) => {
      const initiator = await bed.connect(t)
      await initiator.ready(0, 0)
      const fds = Array.from({ length: count }, () => createMemfd('other', MIB))
      initiator.frontEnd.sendRaw(frame(5, 1, payload), fds)
      await soon('the end of the connection', initiator.frontEnd.closed)
      for (const fd of fds) close(fd)
      await initiator.close()
    })
  await ends('two that overlap', 'VUS_REGION_OVERLAP', table([region(0, MIB), region(MIB - 1, MIB)]), 2)
  await ends('one that wraps around', 'VUS_NUMBER_RANGE', wrapping(), 1)
  await ends('one without a size', 'VUS_REGION_EMPTY', table([region(0, 0)]), 1)
  await ends('one longer than its file', 'VUS_REGION_FILE_SIZE', table([region(0, MIB + 4096)]), 1)
  await ends(
    'a good one and one longer than its file',
    'VUS_REGION_FILE_SIZE',
    table([region(0, MIB), region(MIB, 2 * MIB)]),
    2,
  )
  await ends('one without the rings that run', 'VUS_RING_ADDRESS', table([region(2 ** 40, MIB)]), 1)
  await ends('none at all', 'VUS_RING_ADDRESS', table([]), 0)

  function wrapping(): Uint8Array {
    const payload = table([region(0, MIB)])
    const view = new DataView(payload.buffer)
    view.setBigUint64(8, 2n ** 64n - 4096n, true)
    return payload
  }
})

t.test('memory that running rings need', async (t) => {
  await bed.suffers(t, 'is not taken away', { VUS_RING_ADDRESS: 1 }, async (t) => {
    const initiator = await bed.connect(t)
    await initiator.ready(0, 0)
    await t.rejects(initiator.frontEnd.remMemReg(initiator.memory.regions[0]!), { code: 'VUS_NACK' })
    for (const queue of [0, 1]) await writeAndRead(initiator, queue, queue)
    t.equal(await initiator.tmf(6, 0, 0), 0, 'the control queue works on, too')
    t.same((await initiator.stop()).length, 4)
    await initiator.frontEnd.remMemReg(initiator.memory.regions[0]!)
    await initiator.close()
  })
  await bed.suffers(t, 'cannot be taken away twice', { VUS_UNKNOWN_REGION: 1 }, async (t) => {
    const initiator = await bed.connect(t)
    const [, second] = initiator.memory.regions
    await initiator.frontEnd.remMemReg(second!)
    await t.rejects(initiator.frontEnd.remMemReg(second!), { code: 'VUS_NACK' })
    await writeAndRead(initiator, 0, 5)
    await initiator.close()
  })
})
