import { closeSync, openSync } from 'node:fs'
import { close, createEventfd, createMemfd, fcntl, socketPair } from 'memfd-mmap'
import t from 'tap'
import { Vring } from 'vhost-user-protocol-ts'
import { leakless } from '../../support/vhost-user/harness.js'
import { RecordingDevice } from '../../support/vhost-user/recording-device.js'

const F_GETFL = 3
const F_SETFL = 4
const O_NONBLOCK = 0x800

const ring = () =>
  new Vring(0, { device: new RecordingDevice(), features: 0n, ringStarted: () => {}, ringStopped: () => {} })

leakless(t, 'anything that is no eventfd could block a thread, and is refused and closed', async (t) => {
  const [a, b] = socketPair()
  const vring = ring()
  for (const fd of [createMemfd('memory', 4096), openSync('/dev/zero', 'r+'), a]) {
    await t.rejects(vring.setCall(fd), { code: 'VUS_NOT_AN_EVENTFD' })
    t.equal(fcntl(fd, F_GETFL, 0) < 0, true, 'closed')
  }
  const gone = openSync('/dev/null', 'r')
  closeSync(gone)
  await t.rejects(vring.setErr(gone), { code: 'VUS_NOT_AN_EVENTFD' })
  close(b)
})

leakless(t, 'an eventfd becomes non-blocking', async (t) => {
  const fd = createEventfd()
  fcntl(fd, F_SETFL, fcntl(fd, F_GETFL, 0) & ~O_NONBLOCK)
  t.equal(fcntl(fd, F_GETFL, 0) & O_NONBLOCK, 0)
  const vring = ring()
  await vring.setKick(fd)
  t.equal(fcntl(fd, F_GETFL, 0) & O_NONBLOCK, O_NONBLOCK)
  vring.release()
})
