import { addressOf, memcpy } from 'memfd-mmap'
import t from 'tap'

t.test('addressOf is where the bytes are, for every kind of buffer', async (t) => {
  const buffer = new ArrayBuffer(64)
  const address = addressOf(buffer)
  t.ok(Number.isSafeInteger(address) && address > 0)
  t.equal(addressOf(new Uint8Array(buffer)), address)
  t.equal(addressOf(new DataView(buffer, 24)), address + 24)
  t.equal(addressOf(new Uint32Array(buffer, 8, 2)), address + 8)
  const shared = new SharedArrayBuffer(64)
  t.equal(addressOf(new Int32Array(shared, 4)), addressOf(shared) + 4)
  t.equal(addressOf(new ArrayBuffer(0)), 0)
})

t.test('a small typed array, which V8 keeps in its moving heap at first, stays where it is', async (t) => {
  const arrays = Array.from({ length: 1000 }, (_, i) => new Uint8Array([i, i >> 8, 0, 0]))
  const addresses = arrays.map((array) => addressOf(array))
  const litter: object[] = []
  for (let i = 0; i < 1_000_000; i++) litter[i & 1023] = { i }
  const copy = new Uint32Array(1)
  const to = addressOf(copy)
  let wrong = 0
  for (let i = 0; i < arrays.length; i++) {
    memcpy(to, addresses[i]!, 4)
    if (copy[0] !== i || addressOf(arrays[i]!) !== addresses[i]) wrong++
  }
  t.equal(wrong, 0)
})
