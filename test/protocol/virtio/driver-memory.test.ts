import t from 'tap'
import { DriverMemory } from 'vhost-user-protocol-ts'

function memory() {
  const low = new ArrayBuffer(8192)
  const high = new ArrayBuffer(4096)
  return new DriverMemory([
    { guestAddress: 0x1000, size: 8192, userAddress: 0x7f00_0000_0000, mmapOffset: 0, buffer: low },
    // Bigger than what is shown of it.
    { guestAddress: 0x1_0000_0000, size: 65536, userAddress: 0x7e00_0000_0000, mmapOffset: 8192, buffer: high },
  ])
}

t.test('allocations are aligned, disjoint, and the same bytes at either address', async (t) => {
  const m = memory()
  const a = m.allocate(5)
  const b = m.allocate(100, 4096)
  t.equal(a.address, 0x1000)
  t.equal(b.address, 0x2000)
  t.equal(b.address % 4096, 0)
  new Uint8Array(b.buffer, b.byteOffset, b.length).fill(7)
  t.ok(m.bytes(0x2000, 100).every((byte) => byte === 7))
  t.equal(m.bytes(0x1000, 5)[0], 0)
  t.equal(m.allocate(16, 16, 1).address, 0x1_0000_0000)
})

t.test('a full region refuses, a released mark can be used again', async (t) => {
  const m = memory()
  m.allocate(4096)
  const mark = m.mark()
  const a = m.allocate(4096)
  t.throws(() => m.allocate(1), RangeError)
  m.release(mark)
  t.equal(m.allocate(4096).address, a.address)
  t.throws(() => m.release(8193), RangeError)
  t.throws(() => m.allocate(1, 1, 2), RangeError)
})

t.test('user addresses, and what lies outside', async (t) => {
  const m = memory()
  t.equal(m.userAddress(0x1010), 0x7f00_0000_0010)
  t.equal(m.userAddress(0x1_0000_8000, 16), 0x7e00_0000_8000)
  t.throws(() => m.userAddress(0xfff), RangeError)
  t.throws(() => m.userAddress(0x2fff, 2), RangeError)
  t.throws(() => m.bytes(0x1_0000_0000, 4097), RangeError, 'not shown')
})
