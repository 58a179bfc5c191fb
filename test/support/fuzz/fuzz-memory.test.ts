import { Mapping } from 'memfd-mmap'
import t from 'tap'
import { CANARY, FuzzMemory, PLACE } from './fuzz-memory.js'

t.test('a write is seen unless it was allowed', (t) => {
  const memory = new FuzzMemory()
  t.teardown(() => memory.close())
  memory.data[100] = 1
  memory.remember()
  t.equal(memory.stray([]), undefined)
  memory.data[100] = 2
  t.equal(memory.stray([PLACE.DATA + 101, 10, PLACE.DATA, 100]), `0x${(PLACE.DATA + 100).toString(16)}: 1 has become 2`)
  t.equal(memory.stray([PLACE.DATA + 50, 51]), undefined)
  memory.rings[0] = 3
  t.match(memory.stray([PLACE.DATA, 4096]), /^0x10000: /)
  t.equal(memory.stray([0, PLACE.RINGS + 1]), undefined, 'a range that begins before the region')
  t.end()
})

t.test('what is written around the regions is seen', (t) => {
  const memory = new FuzzMemory()
  t.teardown(() => memory.close())
  for (const { fd, size } of memory.regions) {
    const mapping = Mapping.map({ fd, length: size + 2 * CANARY })
    t.teardown(() => mapping.unmap())
    for (const at of [0, CANARY - 1, CANARY + size, CANARY + size + CANARY - 1]) {
      t.ok(memory.canariesLive)
      new Uint8Array(mapping.view(at, 1))[0] = 0
      t.notOk(memory.canariesLive, `at ${at}`)
      memory.renewCanaries()
    }
    new Uint8Array(mapping.view(CANARY, 1))[0] = 1
    new Uint8Array(mapping.view(CANARY + size - 1, 1))[0] = 1
    t.ok(memory.canariesLive, 'the region itself is for writing')
  }
  t.end()
})
