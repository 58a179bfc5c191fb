import t from 'tap'
import { ALL_STRIPES, createGate, gateId, stripesOf } from '../../iothreads/write-gate-memory.js'
import { Random } from '../support/random.js'

const MIB = 2 ** 20

/** What the docstring says of stripes, a byte at a time. */
function naiveStripes(offset: number, length: number): number {
  let stripes = 0
  for (let at = offset; at < offset + length; at += 512) stripes |= 1 << (Math.floor(at / MIB) % 32)
  return stripes
}

t.test('stripes: a MiB each in turn', async (t) => {
  t.equal(stripesOf(0, 512), 1)
  t.equal(stripesOf(31 * MIB, 512), 1 << 31)
  t.equal(stripesOf(32 * MIB, MIB), 1)
  t.equal(stripesOf(MIB - 512, 1024), 3)
  t.equal(stripesOf(31 * MIB, 2 * MIB), (1 << 31) | 1)
  t.equal(stripesOf(5 * MIB, 32 * MIB), ALL_STRIPES)
  t.equal(stripesOf(5 * MIB, 31 * MIB), ~(1 << 4))
  t.equal(stripesOf(2 ** 52, 2 ** 40), ALL_STRIPES)
  t.equal(stripesOf(2 ** 52 + 3 * MIB, 512), 8)
  const random = new Random(1)
  for (let i = 0; i < 2000; i++) {
    const offset = random.below(200_000) * 512
    const length = (1 + random.below(100_000)) * 512
    if (stripesOf(offset, length) !== naiveStripes(offset, length)) t.fail(`${offset} ${length}`)
  }
})

t.test('gates are told apart, also by who gets one through a port', async (t) => {
  const [one, other] = [createGate(), createGate()]
  t.not(gateId(one), gateId(other))
  t.equal(gateId(structuredClone(one)), gateId(one))
})
