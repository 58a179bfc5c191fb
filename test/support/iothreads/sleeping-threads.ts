// Starts four IOThreads, lets them fall asleep, and ends as the first argument says. Second argument: their engine.
import { readFileSync } from 'node:fs'
import { IoThread, type IoThreadOptions } from '../../../iothreads/index.js'
import { eventually } from '../deadline.js'

const how = process.argv[2]
const engine = process.argv[3] as IoThreadOptions['engine'] & string
const events = { fault() {}, mediumFault() {}, forwarded() {}, recalled() {}, failed() {} }
const threads = await Promise.all(
  Array.from({ length: 4 }, (_, i) => IoThread.start({ id: `io${i}`, engine, pollMaxNs: 0 }, events)),
)
for (const { tid } of threads) {
  const isAsleep = (): true | undefined =>
    /\) S /.test(readFileSync(`/proc/self/task/${tid}/stat`, 'latin1')) ? true : undefined
  await eventually(20_000, 'sleep', isAsleep)
}
process.stdout.write('sleeping\n', () => {
  if (how === 'exit') process.exit(7)
  if (how === 'throw') throw new Error('thrown on purpose')
  for (const thread of threads) void thread.stop()
})
