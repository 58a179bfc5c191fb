import { existsSync } from 'node:fs'
import { close, connectUnix, MessageSocket } from 'memfd-mmap'
import t, { type Test } from 'tap'
import { FRONT_END_REQUEST, FrontEnd, HEADER_FLAG, RESPONSE, TMF } from 'vhost-user-protocol-ts'
import { type Daemon, startDaemon } from '../../support/daemon.js'
import { eventually } from '../../support/deadline.js'
import { footprint, settledFootprint } from '../../support/footprint.js'
import { PATIENCE, REGIONS, serve, soon, writeAndRead } from '../../support/hostile/bed.js'
import { frame } from '../../support/hostile/frame.js'
import { Initiator } from '../../support/vhost/initiator.js'
import { breakRing } from '../../support/vhost/ring-driver.js'

t.setTimeout(240_000)

const READ_8 = [0x28, 0, 0, 0, 0, 0, 0, 0, 8, 0]
const SLOW = { target: 0, lun: 1 }
const LUNS = ['--lun=driver=memory,size=4M', '--lun=lun=1,driver=null,size=1G,delay-us=300000', '--num-queues=4']

async function connect(t: Test, daemon: Daemon): Promise<Initiator> {
  const initiator = await Initiator.connect(daemon.socketPath, { queues: 2, memory: REGIONS, deadline: PATIENCE })
  t.teardown(() => initiator.close())
  return initiator
}

/** Reads that the LUN holds for a while. */
function slowReads(initiator: Initiator, count: number): Promise<unknown>[] {
  const read = (i: number) => initiator.submit({ ...SLOW, cdb: READ_8, dataIn: 4096 }, { queue: i % 2 }).done
  return Array.from({ length: count }, (_, i) => read(i))
}

t.test('front ends that come while another is there wait for their turn', async (t) => {
  const daemon = await startDaemon(t, LUNS)
  const first = await connect(t, daemon)
  const turns: number[] = []
  const waiting = [1, 2, 3].map((number) => {
    const frontEnd = FrontEnd.connect(daemon.socketPath)
    t.teardown(() => frontEnd.close())
    const served = frontEnd.getFeatures().then(() => {
      turns.push(number)
      frontEnd.close()
    })
    return served
  })
  for (let i = 0; i < 20; i++) await writeAndRead(first, i % 2, i)
  t.same(turns, [], 'nobody else is served meanwhile')
  await first.close()
  await soon('the turn of all that waited', Promise.all(waiting))
  t.same(turns, [1, 2, 3], 'first come, first served')
  await serve(daemon.socketPath)
  t.match(await daemon.stop(), { code: 0 })
})

t.test('front ends that go while there is I/O leave nothing behind', async (t) => {
  const daemon = await startDaemon(t, LUNS)
  await serve(daemon.socketPath)
  await daemon.metrics()
  const idle = footprint(daemon)
  for (let i = 0; i < 5; i++) {
    const initiator = await connect(t, daemon)
    await initiator.ready(SLOW.target, SLOW.lun)
    for (const read of slowReads(initiator, 20)) read.catch(() => {})
    await initiator.close()
  }
  await serve(daemon.socketPath)
  const left = await settledFootprint(daemon, idle)
  t.ok(left.files.length <= idle.files.length, 'no descriptor left over', { left, idle })
  t.ok(left.mappings.length <= idle.mappings.length, 'no mapping left over', { left, idle })
  t.match(await daemon.stop(), { code: 0 })
})

/** A second SIGTERM would end the daemon at once. */
const signalled = new Set<Daemon>()

function terminate(daemon: Daemon): void {
  signalled.add(daemon)
  daemon.child.process.kill('SIGTERM')
}

t.test('SIGTERM', async (t) => {
  const at: Record<string, (t: Test, daemon: Daemon) => Promise<void>> = {
    'with a front end that does nothing': async (t, daemon) => {
      await connect(t, daemon)
    },
    'with a front end in the middle of a message': async (t, daemon) => {
      const fd = connectUnix(daemon.socketPath)
      t.teardown(() => close(fd))
      const bytes = frame(FRONT_END_REQUEST.SET_FEATURES, HEADER_FLAG.VERSION, new Uint8Array(8))
      new MessageSocket(fd).send(bytes, 0, 15)
      // It is being served: another one waits behind it.
      connectBehind(t, daemon)
    },
    'with I/O in flight': async (t, daemon) => {
      const initiator = await connect(t, daemon)
      await initiator.ready(SLOW.target, SLOW.lun)
      const reads = slowReads(initiator, 40)
      terminate(daemon)
      const answers = await soon('answers to all that was in flight', Promise.allSettled(reads))
      t.ok(
        answers.every(({ status }) => status === 'fulfilled'),
        'it was let come to its end',
      )
    },
    'with a ring that is broken': async (t, daemon) => {
      const initiator = await connect(t, daemon)
      const queue = initiator.request(0)
      breakRing(queue.driver)
      queue.kick()
      await soon('the end of the ring', queue.breaks())
    },
    'with others that wait': async (t, daemon) => {
      await connect(t, daemon)
      for (let i = 0; i < 3; i++) connectBehind(t, daemon)
    },
    'with task management that waits for I/O': async (t, daemon) => {
      const initiator = await connect(t, daemon)
      await initiator.ready(SLOW.target, SLOW.lun)
      const [read] = slowReads(initiator, 1)
      const reset = initiator.tmf(5, SLOW.target, SLOW.lun)
      terminate(daemon)
      t.match(await soon('the read', read!), { response: 4 }, 'the command is answered as reset')
      t.equal(await reset, 0, 'and the function')
    },
  }
  for (const [name, act] of Object.entries(at)) {
    await t.test(name, async (t) => {
      const daemon = await startDaemon(t, LUNS)
      await act(t, daemon)
      if (!signalled.has(daemon)) terminate(daemon)
      t.same(await daemon.child.ended(PATIENCE), { code: 0, signal: null })
      t.notOk(existsSync(daemon.socketPath), 'the socket is gone')
    })
  }
})

function connectBehind(t: Test, daemon: Daemon): void {
  const frontEnd = FrontEnd.connect(daemon.socketPath)
  t.teardown(() => frontEnd.close())
  frontEnd.getFeatures().catch(() => {})
}

t.test('SIGTERM with I/O that does not end in time', async (t) => {
  const daemon = await startDaemon(t, [
    '--lun=driver=null,size=1G,delay-us=60000000',
    '--num-queues=2',
    '--stop-timeout=1',
  ])
  const initiator = await connect(t, daemon)
  // Takes the unit attention.
  initiator.submit({ cdb: [0] })
  const { tag, done } = initiator.submit({ cdb: READ_8, dataIn: 4096 })
  done.catch(() => {})
  await eventually(PATIENCE, 'I/O in flight', async () => {
    return (await initiator.tmf(TMF.QUERY_TASK, 0, 0, tag)) === RESPONSE.FUNCTION_SUCCEEDED || undefined
  })
  t.same(await daemon.stop(), { code: 0, signal: null })
  t.match(daemon.child.stderr, /still in flight/)
})
