import fc from 'fast-check'
import t from 'tap'
import { InflightCounter } from 'vhost-user-protocol-ts'
import { times } from '../../support/long.js'

const read = (words: Int32Array, at: number): bigint => BigInt(words[at]! >>> 0) + (BigInt(words[at + 1]! >>> 0) << 32n)

const write = (words: Int32Array, at: number, value: bigint): void => {
  words[at] = Number(value & 0xffffffffn)
  words[at + 1] = Number(value >> 32n)
}

t.test('counts from 0', async (t) => {
  const counter = new InflightCounter()
  const words = new Int32Array(8)
  for (let i = 0; i < 4; i++) counter.stamp(words, 2 * i)
  t.same([...words], [0, 0, 1, 0, 2, 0, 3, 0])
})

t.test('carries into the high word, and over the end', async (t) => {
  const cases: [last: bigint, next: bigint][] = [
    [0x7fff_ffffn, 0x8000_0000n],
    [0xffff_fffen, 0xffff_ffffn],
    [0xffff_ffffn, 0x1_0000_0000n],
    [0x7fff_ffff_ffff_ffffn, 0x8000_0000_0000_0000n],
    [0xffff_ffff_ffff_ffffn, 0n],
  ]
  for (const [last, next] of cases) {
    const words = new Int32Array(4)
    write(words, 0, last)
    const counter = new InflightCounter()
    counter.resume(words, 0, 2, Int32Array.of(0), 1)
    counter.stamp(words, 2)
    t.equal(read(words, 2), next)
    counter.stamp(words, 2)
    t.equal(read(words, 2), (next + 1n) & 0xffff_ffff_ffff_ffffn)
  }
})

t.test('puts entries into the order of their numbers, and goes on after the highest', async (t) => {
  const number = fc.oneof(fc.bigInt(0n, 2n ** 64n - 2n), fc.bigInt(0n, 20n), fc.bigInt(2n ** 32n - 3n, 2n ** 32n + 3n))
  fc.assert(
    fc.property(fc.uniqueArray(number, { maxLength: 20 }), fc.nat(3), fc.nat(3), (numbers, first, gap) => {
      const stride = 2 + gap
      const words = new Int32Array(first + stride * numbers.length + 2)
      numbers.forEach((value, i) => {
        write(words, first + stride * i, value)
      })
      const entries = Int32Array.from({ length: numbers.length + 1 }, (_, i) => i)
      const counter = new InflightCounter()
      counter.resume(words, first, stride, entries, numbers.length)
      const sorted = [...numbers].sort((a, b) => (a < b ? -1 : 1))
      const order = Array.from(entries.subarray(0, numbers.length), (entry) => numbers[entry])
      t.strictSame(order, sorted)
      t.equal(entries[numbers.length], numbers.length, 'what is beyond is left alone')
      counter.stamp(words, 0)
      t.equal(read(words, 0), sorted.length === 0 ? 0n : sorted.at(-1)! + 1n)
    }),
    { numRuns: times(200) },
  )
})
