import t from 'tap'
import { FuzzBed } from '../support/fuzz/fuzz-bed.js'
import { keptSeeds, ONLY } from '../support/fuzz/kept-seeds.js'
import { MessageFuzz } from '../support/fuzz/message-fuzz.js'
import { times } from '../support/long.js'
import { Random } from '../support/random.js'

t.setTimeout(0)

/** 1,000,000 in a long run. */
const MESSAGES = times(50_000)
/** Connections between two looks at the honest guest while something changes, and between two honest connections. */
const LOOK = 32
const SERVED = 512

t.test('messages in any order and of any content', async (t) => {
  const bed = await FuzzBed.start(t)
  const fuzz = new MessageFuzz(t, bed)
  const began = performance.now()
  const run = (seed: number): Promise<number> =>
    bed.explained(fuzz.run(seed)).catch((error: Error) => {
      error.message = `VUS_SEED=${seed}: ${error.message}`
      throw error
    })

  for (const seed of ONLY === undefined ? keptSeeds('messages').map(({ seed }) => seed) : [ONLY]) await run(seed)
  await bed.serves()
  if (ONLY === undefined) {
    let messages = 0
    let seed = 0
    while (messages < MESSAGES) {
      // One at a time.
      const taken = run(++seed)
      if (seed % LOOK === 0) await Promise.all([taken, bed.round(), bed.disturb(new Random(seed))])
      messages += await taken
      if (seed % SERVED === 0) await bed.serves()
      if (seed === SERVED) bed.warm()
    }
    t.pass(`${messages} messages on ${seed} connections, ${Math.round(performance.now() - began)} ms`)
  }
  fuzz.close()
  await bed.finish(t)
})
