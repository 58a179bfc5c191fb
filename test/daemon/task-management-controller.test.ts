/** Task management functions of a controller that is reset, left, or whose queues move meanwhile. */
import t, { type Test } from 'tap'
import { RESPONSE, TMF, TMF_REQUEST, TMF_RESPONSE, VQ } from 'vhost-user-protocol-ts'
import type { IoThread } from '../../iothreads/index.js'
import { ControllerBed } from '../support/controller-bed.js'
import { eventually, within } from '../support/deadline.js'
import { read10 } from '../support/iothreads/cdb.js'
import { bytesOf } from '../support/vhost/arena.js'
import type { Initiator } from '../support/vhost/initiator.js'
import { restingBase } from '../support/vhost/ring-driver.js'
import { cut, writeTmf } from '../support/vhost/scsi-request.js'
import { TaskFunctionAsker } from '../support/vhost/task-function.js'
import { WatchedCommand, watchedBytes } from '../support/vhost/watched-command.js'

t.setTimeout(240_000)

const PATIENCE = 30_000
/** Longer than a test: what is held ends only when a function ends it. */
const HELD = { driver: 'null', size: 2 ** 30, delayUs: 60_000_000 } as const
const BLOCK = 512

/** Has an IOThread take up its cancels only when it is told to, and counts them. */
function holdCancels(t: Test, iothread: IoThread) {
  const send = iothread.send.bind(iothread)
  let count = 0
  let release = (): void => {}
  const gate = new Promise<void>((resolve) => {
    release = resolve
  })
  let reached = (): void => {}
  const held = new Promise<void>((resolve) => {
    reached = resolve
  })
  iothread.send = (command) => {
    if (command.type !== 'cancel') return send(command)
    count++
    reached()
    return gate.then(() => send(command))
  }
  t.teardown(() => release())
  return { held, release, count: () => count }
}

let tags = 1000

function read(initiator: Initiator, count: number, queue = 0): WatchedCommand[] {
  const made = Array.from({ length: count }, () => {
    const memory = initiator.memory.allocate(watchedBytes(BLOCK), 64)
    const command = { cdb: read10(0, 1), target: 0, lun: 0, tag: tags++, dataIn: BLOCK }
    return new WatchedCommand(initiator.request(queue), memory, command)
  })
  initiator.request(queue).publish()
  return made
}

const answered = (commands: readonly WatchedCommand[]) =>
  within(PATIENCE, 'the answers', Promise.all(commands.map(({ done }) => done)))

const underWay = (initiator: Initiator, { tag }: WatchedCommand) =>
  eventually(PATIENCE, 'a command under way', async () =>
    (await initiator.tmf(TMF.QUERY_TASK, 0, 0, tag)) === RESPONSE.FUNCTION_SUCCEEDED ? true : undefined,
  )

/** Asks for a function that is not going to be answered. */
function begin(initiator: Initiator, fn: number): void {
  const request = initiator.memory.allocate(TMF_REQUEST.SIZE, 64)
  const response = initiator.memory.allocate(TMF_RESPONSE.SIZE, 64)
  writeTmf(bytesOf(request), fn, 0, 0, 0)
  initiator.control.add([...cut(request, false), ...cut(response, true)])
  initiator.control.publish()
}

/** A copy of guest memory but for the rings, where both sides ask to be notified. */
function image({ memory, queues }: Initiator): Buffer {
  const copy = Buffer.from(memory.bytes(0, memory.regions[0]!.size))
  for (const { area } of queues) copy.fill(0, area.address, area.address + area.length)
  return copy
}

/** Turns of the event loop: what has been resolved has had its effect. */
async function turns(count: number): Promise<void> {
  for (let i = 0; i < count; i++) await new Promise((resolve) => setImmediate(resolve))
}

t.test('RESET_DEVICE does not wait for a function, whose answer is not written any more', async (t) => {
  for (const fn of [TMF.LOGICAL_UNIT_RESET, TMF.I_T_NEXUS_RESET, TMF.ABORT_TASK_SET]) {
    const bed = await ControllerBed.start(t, { luns: [HELD] })
    const { initiator } = await bed.connect(t)
    await initiator.ready(0, 0)
    const { held, release } = holdCancels(t, bed.iothreads[0]!)
    begin(initiator, fn)
    await within(PATIENCE, 'the function', held)
    await within(PATIENCE, 'the reset', initiator.frontEnd.resetDevice())

    // The guest uses its memory for something else; then it starts the device again.
    for (const queue of initiator.queues) queue.driver.reset()
    await initiator.start()
    const before = image(initiator)
    release()
    await turns(5)
    for (const iothread of bed.iothreads) {
      const match = { target: 0, lun: 0, tag: null }
      await within(PATIENCE, 'the cancel', iothread.send({ type: 'query', controller: 'vm', ...match }))
    }
    await turns(5)
    t.ok(image(initiator).equals(before), 'nothing is written')
    t.ok(
      initiator.queues.every(({ driver }) => driver.deviceUsedIndex === 0),
      'nor answered',
    )

    const sense = async (): Promise<readonly number[] | undefined> => {
      const { status, sense } = await initiator.scsi({ cdb: new Uint8Array(6), target: 0, lun: 0 })
      return status === 0 ? undefined : [sense[2]! & 15, sense[12]!, sense[13]!]
    }
    t.same(await sense(), [6, 0x29, 0], 'the reset is a power-on')
    t.equal(await sense(), undefined, 'and the function before it left nothing')
    t.same(bed.failures, [])
    await initiator.close()
  }
})

t.test('a function of before the reset ends no command of after it', async (t) => {
  const bed = await ControllerBed.start(t, { luns: [HELD] })
  const { initiator } = await bed.connect(t)
  await initiator.ready(0, 0)
  const first = read(initiator, 1)
  await underWay(initiator, first[0]!)
  // The queue's pause waits for the command, and the function for the move: until both find it.
  const { held, release, count } = holdCancels(t, bed.iothreads[0]!)
  const moved = bed.controller.moveQueue(0, bed.iothreads[1]!)
  begin(initiator, TMF.ABORT_TASK_SET)
  await within(PATIENCE, 'the function', held)
  const reset = initiator.frontEnd.resetDevice()
  await eventually(PATIENCE, 'the end of another ring', () =>
    bed.controller.queue(1).size === undefined ? true : undefined,
  )
  release()
  await within(PATIENCE, 'the move', moved)
  await within(PATIENCE, 'the reset', reset)
  await answered(first)

  for (const queue of initiator.queues) queue.driver.reset()
  await initiator.start()
  await initiator.ready(0, 0)
  const second = read(initiator, 4)
  await underWay(initiator, second[3]!)
  await turns(20)
  t.ok(
    second.every(({ result }) => result === undefined),
    'they are under way',
  )
  t.equal(count(), 1, 'the function has not gone on after the move')
  t.equal(await initiator.tmf(TMF.ABORT_TASK_SET, 0, 0), RESPONSE.OK)
  for (const { response } of await answered(second)) t.equal(response, RESPONSE.ABORTED)
  await initiator.close()
  t.same(bed.failures, [])
})

t.test('the end of the connection does not wait for a function either', async (t) => {
  const bed = await ControllerBed.start(t, { luns: [HELD] })
  const { initiator, session } = await bed.connect(t)
  const { held, release } = holdCancels(t, bed.iothreads[1]!)
  begin(initiator, TMF.LOGICAL_UNIT_RESET)
  await within(PATIENCE, 'the function', held)
  initiator.frontEnd.close()
  t.match(await within(PATIENCE, 'the end of the session', session.closed), { code: 'VUS_PEER_CLOSED' })
  const { initiator: next } = await bed.connect(t)
  release()
  await next.ready(0, 0)
  t.same(bed.failures, [])
  await initiator.close()
})

t.test('a ring that is stopped waits for its functions', async (t) => {
  const bed = await ControllerBed.start(t, { luns: [HELD] })
  const { initiator } = await bed.connect(t)
  const { held, release } = holdCancels(t, bed.iothreads[1]!)
  const fn = initiator.tmf(TMF.LOGICAL_UNIT_RESET, 0, 0)
  await within(PATIENCE, 'the function', held)
  let base: number | undefined
  const stopped = initiator.frontEnd.getVringBase(VQ.CONTROL).then((value) => {
    base = value
  })
  await turns(20)
  t.equal(base, undefined)
  release()
  t.equal(await fn, RESPONSE.OK)
  await within(PATIENCE, 'the stop', stopped)
  t.equal(base, restingBase(initiator.control.driver))
})

t.test('a function does not wait for a move that waits for commands', async (t) => {
  for (const [fn, response] of [
    [TMF.ABORT_TASK_SET, RESPONSE.ABORTED],
    [TMF.LOGICAL_UNIT_RESET, RESPONSE.RESET],
  ] as const) {
    const bed = await ControllerBed.start(t, { luns: [HELD] })
    const { initiator } = await bed.connect(t)
    await initiator.ready(0, 0)
    const asker = new TaskFunctionAsker(initiator, PATIENCE)
    const commands = read(initiator, 4)
    await underWay(initiator, commands[3]!)
    const moved = bed.controller.moveQueue(0, bed.iothreads[1]!)
    await turns(5)
    // In the ring of a queue that stands still.
    commands.push(...read(initiator, 4))
    const before = initiator.request(0).driver.deviceUsedIndex
    const answer = await asker.ask(fn, 0, 0, 0)
    t.equal(answer.response, RESPONSE.OK)
    t.equal(answer.used[VQ.REQUEST]! - before, 8, 'all are answered before the function')
    for (const result of await answered(commands)) t.equal(result.response, response)
    await within(PATIENCE, 'the move', moved)
    t.equal(bed.controller.queue(0).iothread, bed.iothreads[1])
    t.equal(await initiator.tmf(TMF.QUERY_TASK_SET, 0, 0), RESPONSE.OK, 'nothing is left')
    await initiator.stop()
    t.ok(commands.every(({ intact }) => intact))
    t.same(bed.failures, [])
    await initiator.close()
  }
})
