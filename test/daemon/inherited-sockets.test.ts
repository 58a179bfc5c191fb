// A daemon that gets its socket from whoever starts it, and front ends that come to one socket at the same time.
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { close, listenUnix, socketPair } from 'memfd-mmap'
import t from 'tap'
import { Child } from '../support/child.js'
import { writeAndRead } from '../support/hostile/bed.js'
import type { Teardown } from '../support/teardown.js'
import { tempDir } from '../support/temp-dir.js'
import { Initiator } from '../support/vhost/initiator.js'

const MAIN = fileURLToPath(new URL('../../daemon/main.js', import.meta.url))
const PATIENCE = 60_000
const WAITING = /a second front end waits until the first has gone/

t.setTimeout(240_000)

const start = (t: Teardown, fd: number): Child =>
  new Child(t, 'vhost-user-scsid', process.execPath, [MAIN, '--fd=3', '--lun=driver=memory,size=1M'], [fd])

const connect = (socket: string | number): Promise<Initiator> => Initiator.connect(socket, { deadline: PATIENCE })

t.test('a connected socket: I/O, and the end of the daemon with its front end', async (t) => {
  const [back, front] = socketPair()
  const daemon = start(t, back)
  close(back)
  const initiator = await connect(front)
  await writeAndRead(initiator, 0, 1)
  await initiator.close()
  t.same(await daemon.ended(PATIENCE), { code: 0, signal: null })
})

t.test('a listening socket: one front end after another, and never two', async (t) => {
  const path = join(tempDir(t), 's')
  const listening = listenUnix(path)
  const daemon = start(t, listening)
  close(listening)
  const first = await connect(path)
  t.teardown(() => first.close())
  await writeAndRead(first, 0, 1)
  let served = false
  const connecting = connect(path).then((initiator) => {
    served = true
    return initiator
  })
  connecting.catch(() => {})
  await daemon.output('stderr', WAITING, PATIENCE)
  for (let seed = 2; seed < 50; seed++) await writeAndRead(first, 0, seed)
  t.notOk(served, 'the second has had no answer')
  await first.close()
  const second = await connecting
  t.teardown(() => second.close())
  await writeAndRead(second, 0, 50)
  await second.close()
  const third = await connect(path)
  await writeAndRead(third, 0, 51)
  await third.close()
  daemon.process.kill('SIGTERM')
  t.same(await daemon.ended(PATIENCE), { code: 0, signal: null })
})
