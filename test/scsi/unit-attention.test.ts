import { Worker } from 'node:worker_threads'
import fc from 'fast-check'
import t from 'tap'
import { SENSE } from '../../scsi/sense.js'
import { ATTENTION, clear, raise, take } from '../../scsi/unit-attention.js'
import { attentionWord } from './support/fixture.js'

const CONDITIONS = Object.values(ATTENTION)

t.test('conditions are reported in the order of their precedence, each once', async (t) => {
  const word = attentionWord()
  t.equal(take(word), 0)
  raise(word, ATTENTION.CAPACITY_CHANGED)
  raise(word, ATTENTION.NEXUS_LOSS)
  raise(word, ATTENTION.BUS_DEVICE_RESET)
  raise(word, ATTENTION.CAPACITY_CHANGED)
  t.equal(take(word), SENSE.BUS_DEVICE_RESET_FUNCTION_OCCURRED)
  t.equal(take(word), SENSE.I_T_NEXUS_LOSS_OCCURRED)
  t.equal(take(word), SENSE.CAPACITY_DATA_HAS_CHANGED)
  t.equal(take(word), 0)
})

t.test('a power on is all there is to report', async (t) => {
  const word = attentionWord()
  raise(word, ATTENTION.REPORTED_LUNS_CHANGED)
  raise(word, ATTENTION.POWER_ON)
  t.equal(take(word), SENSE.POWER_ON_RESET_OR_BUS_DEVICE_RESET_OCCURRED)
  t.equal(take(word), 0)
})

t.test('clear() takes conditions back', async (t) => {
  const word = attentionWord()
  raise(word, ATTENTION.REPORTED_LUNS_CHANGED)
  raise(word, ATTENTION.CAPACITY_CHANGED)
  clear(word, ATTENTION.REPORTED_LUNS_CHANGED)
  t.equal(take(word), SENSE.CAPACITY_DATA_HAS_CHANGED)
  t.equal(take(word), 0)
})

t.test('every condition has a UNIT ATTENTION code of its own', async (t) => {
  const codes = CONDITIONS.map((condition) => {
    const word = attentionWord()
    raise(word, condition)
    return take(word)
  })
  t.ok(codes.every((code) => code >>> 16 === 6))
  t.equal(new Set(codes).size, codes.length)
})

t.test('any content of the word comes to an end', async () => {
  fc.assert(
    fc.property(fc.integer(), (content) => {
      const word = attentionWord()
      word[0] = content
      let taken = 0
      while (take(word) !== 0) taken += 1
      return word[0] === 0 && taken <= CONDITIONS.length
    }),
  )
})

t.test('of two threads that take one condition, one gets it', async (t) => {
  // [0] the attention word, [1] threads that have come to the barrier, [2] the round, [3] conditions taken in all.
  const shared = new SharedArrayBuffer(16)
  const module = new URL('../../scsi/unit-attention.js', import.meta.url).href
  // The last to come raises the condition and lets both go: they take it at the same moment. The rounds end by number
  // or, on a busy machine, by time.
  const code = `
    import { parentPort, workerData } from 'node:worker_threads'
    const { raise, take } = await import(${JSON.stringify(module)})
    const words = new Int32Array(workerData)
    const end = Date.now() + 1000
    let round = 0
    for (; round >= 0; ) {
      if (Atomics.add(words, 1, 1) === 1) {
        Atomics.store(words, 1, 0)
        raise(words, ${ATTENTION.CAPACITY_CHANGED})
        Atomics.store(words, 2, round === 200000 || Date.now() > end ? -1 : round + 1)
      } else {
        while (Atomics.load(words, 2) === round);
      }
      if (take(words) !== 0) Atomics.add(words, 3, 1)
      round = Atomics.load(words, 2) < 0 ? -round - 1 : round + 1
    }
    parentPort.postMessage(-round)`
  const url = new URL(`data:text/javascript,${encodeURIComponent(code)}`)
  const rounds = await Promise.all(
    [0, 1].map(
      () =>
        new Promise<number>((resolve, reject) =>
          new Worker(url, { workerData: shared }).on('message', resolve).on('error', reject),
        ),
    ),
  )
  t.ok(rounds[0]! > 0, `${rounds[0]} rounds`)
  t.equal(rounds[1], rounds[0])
  t.equal(new Int32Array(shared)[3], rounds[0])
})
