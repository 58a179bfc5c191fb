import { close, connectUnix, createEventfd, createMemfd, listenUnix, socketPair } from 'memfd-mmap'
import t from 'tap'
import { BackendChannel } from 'vhost-user-protocol-ts'
import { tempDir } from '../../support/temp-dir.js'
import { leakless, Reports, soon } from '../../support/vhost-user/harness.js'
import { put, take } from '../../support/vhost-user/wire.js'

/** Resolves with the code of the next report. */
class Watch extends Reports {
  #resolve: (code: string) => void = () => {}
  readonly next = new Promise<string>((resolve) => {
    this.#resolve = resolve
  })

  override event(level: 'debug' | 'info' | 'warn' | 'error', code: string, message: string): void {
    super.event(level, code, message)
    this.#resolve(code)
  }
}

leakless(t, 'kept until it is closed, silent all the time', async (t) => {
  const [here, there] = socketPair()
  const reports = new Watch()
  const channel = new BackendChannel(here, reports)
  t.equal(channel.open, true)
  t.equal(take(there), undefined, 'nothing is sent')
  channel.close()
  channel.close()
  t.equal(channel.open, false)
  t.throws(() => put(there, Uint8Array.of(1)), /-32/, 'EPIPE: it is closed')
  t.same(reports.all, [])
  close(there)
})

leakless(t, 'the front end closes it', async (t) => {
  const [here, there] = socketPair()
  const reports = new Watch()
  const channel = new BackendChannel(here, reports)
  close(there)
  t.equal(await soon('the end', reports.next), 'VUS_CHANNEL_CLOSED')
  t.equal(channel.open, false)
  channel.close()
  t.same(reports.codes('debug'), ['VUS_CHANNEL_CLOSED'])
})

for (const [name, fds] of [
  ['bytes', 0],
  ['bytes with descriptors', 3],
  ['as many descriptors as can be sent', 64],
] as const) {
  leakless(t, `unasked: ${name}`, async (t) => {
    const [here, there] = socketPair()
    const reports = new Watch()
    const channel = new BackendChannel(here, reports)
    const events = Array.from({ length: fds }, () => createEventfd())
    put(there, new Uint8Array(12), events)
    for (const fd of events) close(fd)
    t.equal(await soon('the end', reports.next), 'VUS_CHANNEL_MESSAGE')
    t.equal(channel.open, false)
    t.same(reports.codes('warn'), ['VUS_CHANNEL_MESSAGE'])
    close(there)
  })
}

leakless(t, 'only a Unix stream socket that does not listen', async (t) => {
  const path = `${tempDir(t)}/socket`
  const listening = listenUnix(path)
  for (const fd of [createEventfd(), createMemfd('no socket', 4096), listening]) {
    t.throws(() => new BackendChannel(fd, new Reports()), { code: 'VUS_NOT_A_CHANNEL' })
    // Not taken over: closing it here is no error, and the harness sees that it is closed once.
    if (fd !== listening) t.equal(close(fd), 0)
  }
  const connected = connectUnix(path)
  const channel = new BackendChannel(connected, new Reports())
  t.equal(channel.open, true)
  channel.close()
  close(listening)
})
