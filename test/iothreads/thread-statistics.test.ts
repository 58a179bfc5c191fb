import t from 'tap'
import { THREAD_FIELD, ThreadStatistics } from '../../iothreads/thread-statistics.js'

t.test('another view of the memory sees the counts', async (t) => {
  const written = new ThreadStatistics()
  const read = new ThreadStatistics(written.memory)
  written.add(THREAD_FIELD.REQUESTS, 2 ** 40)
  written.add(THREAD_FIELD.REQUESTS, 5)
  written.add(THREAD_FIELD.POLL_HITS)
  t.equal(read.read(THREAD_FIELD.REQUESTS), 2 ** 40 + 5)
  t.equal(read.read(THREAD_FIELD.POLL_HITS), 1)
  t.equal(read.read(THREAD_FIELD.SLEEPS), 0)
})
