import { Mapping } from 'memfd-mmap'
import t, { type Test } from 'tap'
import { INFLIGHT_UNUSABLE, inflightStride, PACKED_BASE_NEW } from 'vhost-user-protocol-ts'
import { type Takeover, takeOver } from '../../iothreads/inflight.js'
import type { HostRing } from '../../iothreads/messages.js'
import { createRing, type RingDriver, ringBytes } from '../support/vhost/ring-driver.js'

const SIZE = 8
const REGION = 4096
const VERSION = 8

/** A ring at the beginning of private memory, and its inflight region behind it. */
function ringOf(t: Test, packed: boolean): { ring: HostRing; driver: RingDriver; region: Uint8Array } {
  const length = inflightStride(packed ? 'packed' : 'split', SIZE)
  const mapping = Mapping.anonymous(REGION + length)
  t.teardown(() => mapping.unmap())
  t.ok(ringBytes(packed, SIZE, 0) <= REGION)
  const { address } = mapping
  const driver = createRing(packed, { size: SIZE, buffer: mapping.view(), byteOffset: 0, guestAddress: 0 })
  const ring = {
    index: 2,
    packed,
    size: SIZE,
    base: packed ? PACKED_BASE_NEW : 0,
    desc: address + driver.descAddress,
    avail: address + driver.availAddress,
    used: address + driver.usedAddress,
    eventIdx: false,
    indirect: false,
    kickFd: -1,
    callFd: -1,
    errFd: -1,
    inflight: { address: address + REGION, length, entries: SIZE },
  }
  return { ring, driver, region: new Uint8Array(mapping.view(REGION, length)) }
}

function taken(ring: HostRing): Takeover {
  const takeover = takeOver(ring)
  if (takeover === null || takeover === INFLIGHT_UNUSABLE) throw new Error('nothing to take over')
  return takeover
}

for (const packed of [false, true]) {
  const kind = packed ? 'packed' : 'split'

  t.test(`a ring without a region, ${kind}`, async (t) => {
    const { inflight: _, ...ring } = ringOf(t, packed).ring
    t.equal(takeOver(ring), null)
  })

  t.test(`a region that makes no sense, ${kind}`, async (t) => {
    const { ring, region } = ringOf(t, packed)
    region[VERSION] = 7
    t.equal(takeOver(ring), INFLIGHT_UNUSABLE)
  })

  t.test(`a fresh region, and one that was used, ${kind}`, async (t) => {
    const { ring, driver } = ringOf(t, packed)
    const first = taken(ring)
    t.equal(first.recovered.length, 0)
    t.equal(first.base, ring.base)
    const segments = [
      { address: 16, length: 1, writable: false },
      { address: 32, length: 2, writable: true },
    ]
    const head = driver.add(segments)
    driver.publish()
    // Two descriptors of the packed ring, whose buffer id is the head; one entry of the split ring.
    const noted = first.inflight.fetch(packed ? 0 : head, packed ? (2 << 16) | head : head)

    const again = taken(ring)
    t.same([...again.recovered], [noted])
    t.equal(again.base & 0x7fff, packed ? 2 : 1, 'behind what was fetched')
    const at = again.locate(noted)
    const { desc } = again.ring ?? { desc: new DataView(new ArrayBuffer(0)) }
    if (packed)
      t.same([at, desc.getUint32(0, true), desc.getUint32(16, true)], [0, 16, 32], 'a copy of its descriptors')
    else t.same([at, again.ring], [head, null], 'where it always was')
    again.inflight.complete(noted)
    again.inflight.beforePublish()
    again.inflight.afterPublish()
  })
}
