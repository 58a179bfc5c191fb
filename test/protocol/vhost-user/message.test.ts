import { close, createEventfd } from 'memfd-mmap'
import t from 'tap'
import { Message } from 'vhost-user-protocol-ts'
import { leakless } from '../../support/vhost-user/harness.js'

leakless(t, 'descriptors that nobody takes are closed with the message', async (t) => {
  const fds = [createEventfd(), createEventfd(), createEventfd()]
  const kept = fds[1]!
  const message = new Message(5, 0x9, new Uint8Array(4), fds)
  t.equal(message.fds.length, 3)
  t.equal(message.takeFd(1), kept)
  t.equal(message.takeFd(1), -1, 'only once')
  t.equal(message.takeFd(3), -1)
  message.release()
  message.release()
  t.equal(close(kept), 0, 'the one that was taken is still open')
})

t.test('need_reply and the payload', async (t) => {
  const buffer = Uint8Array.from([9, 9, 1, 2, 3, 4])
  const message = new Message(5, 0x9, buffer.subarray(2), [])
  t.equal(message.needReply, true)
  t.equal(message.view.getUint32(0, true), 0x04030201)
  t.equal(new Message(5, 0x1, buffer, []).needReply, false)
})
