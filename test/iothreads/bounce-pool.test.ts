import { memset } from 'memfd-mmap'
import t from 'tap'
import { BOUNCE_BYTES, BouncePool } from '../../iothreads/bounce-pool.js'
import { ownAddressSpace } from '../support/iothreads/own-process.js'

t.test('a buffer is the memory at its address', async (t) => {
  const pool = new BouncePool()
  t.teardown(() => pool.release())
  const { address, bytes } = pool.take()!
  t.equal(bytes.length, BOUNCE_BYTES)
  memset(address + BOUNCE_BYTES - 2, 0xab, 2)
  t.strictSame([...bytes.slice(-3)], [0, 0xab, 0xab])
})

t.test('as many as are needed at once, then the same again', async (t) => {
  const pool = new BouncePool()
  t.teardown(() => pool.release())
  const taken = [pool.take()!, pool.take()!, pool.take()!]
  const addresses = new Set(taken.map(({ address }) => address))
  t.equal(addresses.size, 3)
  for (let round = 0; round < 10; round++) {
    for (const bounce of taken.splice(0)) pool.give(bounce)
    for (let i = 0; i < 3; i++) taken.push(pool.take()!)
    t.ok(taken.every(({ address }) => addresses.has(address)))
    t.equal(new Set(taken.map(({ address }) => address)).size, 3)
  }
})

t.test('there is a limit', async (t) => {
  const pool = new BouncePool()
  t.teardown(() => pool.release())
  const taken = Array.from({ length: 128 }, () => pool.take()!)
  t.equal(pool.take(), undefined)
  pool.give(taken[0]!)
  t.equal(pool.take(), taken[0])
})

t.test('release gives the memory back', async (t) => {
  const run = (): void => {
    const pool = new BouncePool()
    for (const bounce of Array.from({ length: 16 }, () => pool.take()!)) pool.give(bounce)
    pool.release()
  }
  run()
  const before = ownAddressSpace()
  for (let i = 0; i < 100; i++) run()
  t.ok(ownAddressSpace() - before < 100 * BOUNCE_BYTES, 'a sixteenth of what was taken')
})
