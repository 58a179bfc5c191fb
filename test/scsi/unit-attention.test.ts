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

t.test('of several threads that take one condition, one gets it', async (t) => {
  const rounds = 2000
  const workers = 2
  // [0]: the attention word, [1]: the round, [2]: workers that are done with it, [3]: conditions taken in all.
  const shared = new SharedArrayBuffer(16)
  const words = new Int32Array(shared)
  const module = new URL('../../scsi/unit-attention.js', import.meta.url).href
  const code = `
    import { workerData } from 'node:worker_threads'
    const { take } = await import(${JSON.stringify(module)})
    const words = new Int32Array(workerData)
    for (let round = 1; round <= ${rounds}; round++) {
      while (Atomics.load(words, 1) < round) Atomics.wait(words, 1, round - 1, 1000)
      if (take(words) !== 0) Atomics.add(words, 3, 1)
      Atomics.add(words, 2, 1)
    }`
  const url = new URL(`data:text/javascript,${encodeURIComponent(code)}`)
  const exits = Array.from({ length: workers }, () => {
    const worker = new Worker(url, { workerData: shared })
    return new Promise<number>((resolve, reject) => worker.on('exit', resolve).on('error', reject))
  })
  const driver = new Worker(
    new URL(
      `data:text/javascript,${encodeURIComponent(`
        import { workerData } from 'node:worker_threads'
        const words = new Int32Array(workerData)
        for (let round = 1; round <= ${rounds}; round++) {
          Atomics.store(words, 0, ${ATTENTION.CAPACITY_CHANGED})
          Atomics.store(words, 1, round)
          Atomics.notify(words, 1)
          while (Atomics.load(words, 2) < ${workers} * round);
        }`)}`,
    ),
    { workerData: shared },
  )
  exits.push(new Promise<number>((resolve, reject) => driver.on('exit', resolve).on('error', reject)))
  t.same(await Promise.all(exits), [0, 0, 0])
  t.equal(words[3], rounds)
})
