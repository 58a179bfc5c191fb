import t from 'tap'
import { FuzzBed } from '../support/fuzz/fuzz-bed.js'
import { keptSeeds, ONLY } from '../support/fuzz/kept-seeds.js'
import { MessageFuzz } from '../support/fuzz/message-fuzz.js'
import { times } from '../support/long.js'

t.setTimeout(0)

/** 1,000,000 in a long run. */
const MESSAGES = times(50_000)
/** Connections between two looks at the honest guest, and at the canaries. */
const LOOK = 32
const CANARIES = 512

t.test('messages in any order and of any content', async (t) => {
  const bed = await FuzzBed.start(t)
  const fuzz = new MessageFuzz(t, bed)
  const began = performance.now()
  const run = (seed: number): Promise<number> =>
    bed.explained(fuzz.run(seed)).catch((error: Error) => {
      error.message = `VUS_SEED=${seed}: ${error.message}`
      throw error
    })
  const look = async (seed: number): Promise<void> => {
    if (!fuzz.memory.canariesLive) throw new Error(`written outside of the regions before VUS_SEED=${seed}`)
    await bed.serves()
  }

  for (const seed of ONLY === undefined ? keptSeeds('messages').map(({ seed }) => seed) : [ONLY]) await run(seed)
  await bed.serves()
  if (ONLY === undefined) {
    let messages = 0
    let seed = 0
    while (messages < MESSAGES) {
      messages += await run(++seed)
      if (seed % LOOK === 0) await bed.round()
      if (seed % CANARIES === 0) await look(seed)
    }
    t.pass(`${messages} messages on ${seed} connections, ${Math.round(performance.now() - began)} ms`)
  }
  t.ok(fuzz.memory.canariesLive, 'nothing was written outside of the regions')
  fuzz.close()
  await bed.finish(t)
})
