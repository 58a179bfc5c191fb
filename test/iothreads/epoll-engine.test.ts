import { createEventfd, openFd, raw, signalEventfd } from 'memfd-mmap'
import t from 'tap'
import { EpollEngine } from '../../iothreads/epoll-engine.js'
import { engineSuite, Recorder, turn } from '../support/iothreads/engine-suite.js'
import { tempDir } from '../support/temp-dir.js'

engineSuite(t, (handler) => new EpollEngine(handler))

t.test('what cannot be watched is an error', async (t) => {
  const engine = new EpollEngine(new Recorder())
  const directory = openFd(tempDir(t), 0)
  t.teardown(() => {
    raw.close(directory)
    engine.close()
  })
  t.throws(() => engine.watch(directory, 1), { code: 'EPERM' })
  t.throws(() => engine.watch(99_999, 1), { code: 'EBADF' })
  t.equal(engine.unwatched(1), true)
})

t.test('more descriptors at once than one call reports', async (t) => {
  const recorder = new Recorder()
  const engine = new EpollEngine(recorder)
  const fds = Array.from({ length: 400 }, () => createEventfd())
  t.teardown(() => {
    for (const fd of fds) raw.close(fd)
    engine.close()
  })
  fds.forEach((fd, i) => {
    engine.watch(fd, i)
    signalEventfd(fd)
  })
  turn(engine, () => recorder.tokens.length >= 400)
  t.strictSame(
    recorder.tokens.toSorted((a, b) => a - b),
    fds.map((_, i) => i),
  )
})
