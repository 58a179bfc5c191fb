import t, { type Test } from 'tap'
import {
  AN_REQUEST,
  CONTROL_TYPE,
  LUN_INVALID,
  RESPONSE,
  TMF,
  TMF_REQUEST,
  WLUN_REPORT_LUNS,
} from 'vhost-user-protocol-ts'
import { ControlQueue, type TaskManagementRequest } from '../../daemon/control-queue.js'
import { eventually, within } from '../support/deadline.js'
import { MainRing, type MainRingOptions } from '../support/main-ring.js'
import { splitDriver } from '../support/vhost/ring-driver.js'
import { writeAsyncNotification, writeTmf } from '../support/vhost/scsi-request.js'

const PATIENCE = 20_000

/** A function that a queue has asked for, and how it ends. */
interface Asked {
  readonly request: TaskManagementRequest
  readonly resolve: (response: number) => void
  readonly reject: (error: unknown) => void
}

/** A control queue whose functions end when the test says so. */
function controlQueue(t: Test, options: MainRingOptions = {}, ring = new MainRing(t, options), base = 0) {
  const asked: Asked[] = []
  const faults: string[] = []
  const failures: unknown[] = []
  const queue = new ControlQueue(
    ring.host(base),
    ring.memory,
    (request) => new Promise((resolve, reject) => asked.push({ request, resolve, reject })),
    (code) => faults.push(code),
    (error) => failures.push(error),
  )
  t.teardown(() => {
    for (const { resolve } of asked) resolve(0)
    return queue.stop()
  })
  return { ring, queue, asked, faults, failures }
}

function tmf(subtype: number, target: number, lun: number, tag = 0): Uint8Array {
  const bytes = new Uint8Array(TMF_REQUEST.SIZE)
  writeTmf(bytes, subtype, target, lun, tag)
  return bytes
}

const until = (what: string, done: () => boolean) => eventually(PATIENCE, what, () => (done() ? true : undefined))

/** What has come back, once `count` requests have. */
async function answers(ring: MainRing, count: number): Promise<{ head: number; length: number }[]> {
  const all: { head: number; length: number }[] = []
  await until(`${count} answers`, () => {
    all.push(...ring.reap())
    return all.length >= count
  })
  return all
}

t.test('a function is asked for, and its answer given back when it has one', async (t) => {
  const { ring, asked } = controlQueue(t)
  const bytes = tmf(TMF.ABORT_TASK, 3, 300, 2 ** 40 + 5)
  const { head, answer } = ring.add(bytes, 1)
  ring.publish()
  await until('the function', () => asked.length === 1)
  t.same(asked[0]?.request, { function: TMF.ABORT_TASK, target: 3, lun: 300, tag: [5, 256], epoch: { over: false } })
  t.same(ring.reap(), [], 'not yet')
  asked[0]?.resolve(RESPONSE.FUNCTION_SUCCEEDED)
  t.same(await answers(ring, 1), [{ head, length: 1 }])
  t.equal(ring.bytes(answer, 1)[0], RESPONSE.FUNCTION_SUCCEEDED)
  t.equal(ring.calls, 1)
})

t.test('the forms of a LUN, and tags of 64 bits', async (t) => {
  const { ring, asked } = controlQueue(t)
  const forms: [number[], TaskManagementRequest['lun'], number][] = [
    [[1, 7, 0, 9], 9, 7],
    [[1, 7, 0x40, 9], 9, 7],
    [[0xc1, 1, 0, 0], WLUN_REPORT_LUNS, 1],
    [[0, 7, 0, 0], LUN_INVALID, 7],
  ]
  for (const [i, [lun, decoded, target]] of forms.entries()) {
    const bytes = tmf(TMF.QUERY_TASK, 0, 0)
    bytes.set(lun, TMF_REQUEST.LUN)
    bytes.fill(0xff, TMF_REQUEST.TAG, TMF_REQUEST.TAG + 8)
    ring.add(bytes, 1)
    ring.publish()
    await until('the function', () => asked.length === i + 1)
    t.match(asked[i]?.request, { function: TMF.QUERY_TASK, target, lun: decoded, tag: [-1, -1] })
  }
})

t.test('functions may end in any order', async (t) => {
  const { ring, asked } = controlQueue(t)
  const heads = [0, 1, 2].map((lun) => ring.add(tmf(TMF.LOGICAL_UNIT_RESET, 0, lun), 1).head)
  ring.publish()
  await until('the functions', () => asked.length === 3)
  asked[2]?.resolve(0)
  t.same(
    (await answers(ring, 1)).map(({ head }) => head),
    [heads[2]],
  )
  asked[0]?.resolve(0)
  asked[1]?.resolve(0)
  t.equal((await answers(ring, 2)).length, 2)
})

t.test('a function that fails of itself is a FAILURE, and is told of', async (t) => {
  const { ring, asked, failures } = controlQueue(t)
  const { answer } = ring.add(tmf(TMF.LOGICAL_UNIT_RESET, 0, 0), 1)
  ring.publish()
  await until('the function', () => asked.length === 1)
  asked[0]?.reject(new Error('a thread has died'))
  await answers(ring, 1)
  t.equal(ring.bytes(answer, 1)[0], RESPONSE.FAILURE)
  await until('the failure', () => failures.length === 1)
  t.match(failures[0], { message: 'a thread has died' })
})

t.test('asynchronous notification', async (t) => {
  const { ring, asked } = controlQueue(t)
  for (const type of [CONTROL_TYPE.AN_QUERY, CONTROL_TYPE.AN_SUBSCRIBE]) {
    const bytes = new Uint8Array(AN_REQUEST.SIZE)
    writeAsyncNotification(bytes, type, 0, 0, 0xffffffff)
    const { answer } = ring.add(bytes, 5)
    ring.publish()
    t.equal((await answers(ring, 1))[0]?.length, 5)
    t.same([...ring.bytes(answer, 5)], [0, 0, 0, 0, RESPONSE.OK], 'no event can be had, and that is no error')
  }
  t.same(asked, [])
})

t.test('requests that are none are given back without an answer', async (t) => {
  const { ring, asked, faults } = controlQueue(t)
  const good = tmf(TMF.LOGICAL_UNIT_RESET, 0, 0)
  const unknown = good.slice()
  new DataView(unknown.buffer).setUint32(TMF_REQUEST.TYPE, 3, true)
  const short = new Uint8Array(AN_REQUEST.SIZE - 1)
  short[0] = CONTROL_TYPE.AN_QUERY
  const malformed: Record<string, Uint8Array> = {
    'of no type': new Uint8Array(3),
    empty: new Uint8Array(0),
    'a function one byte short': good.slice(0, TMF_REQUEST.SIZE - 1),
    'a query one byte short': short,
    'of an unknown type': unknown,
  }
  for (const [name, bytes] of Object.entries(malformed)) {
    const { answer } = ring.add(bytes, 8)
    ring.publish()
    t.equal((await answers(ring, 1))[0]?.length, 0, name)
    t.ok(ring.bytes(answer, 8).every((byte) => byte === 0xee))
  }
  // One that is longer than it need be is not malformed.
  ring.add(Uint8Array.of(...good, 1, 2, 3), 8)
  ring.publish()
  await until('the function', () => asked.length === 1)
  asked[0]?.resolve(0)
  t.equal((await answers(ring, 1))[0]?.length, 1)
  t.same(faults, [])
})

t.test('a full ring of functions is taken at once, and does not keep the loop to itself', async (t) => {
  const { ring, asked } = controlQueue(t, { size: 256 })
  for (let i = 0; i < 128; i++) ring.add(tmf(TMF.QUERY_TASK_SET, 0, i), 1)
  let turns = 0
  const count = (): void => {
    turns++
    if (asked.length < 128) setImmediate(count)
  }
  ring.publish()
  setImmediate(count)
  await until('all functions', () => asked.length === 128)
  t.ok(turns >= 3, `others had ${turns} turns meanwhile`)
  for (const { resolve } of asked) resolve(0)
  t.equal((await answers(ring, 128)).length, 128)
})

t.test('it stops when what it has taken is answered, and another goes on there', async (t) => {
  const { ring, queue, asked } = controlQueue(t)
  ring.add(tmf(TMF.LOGICAL_UNIT_RESET, 0, 0), 1)
  ring.publish()
  await until('the function', () => asked.length === 1)
  let base: number | undefined
  const stopped = queue.stop().then((index) => {
    base = index
  })
  ring.add(tmf(TMF.LOGICAL_UNIT_RESET, 0, 1), 1)
  ring.publish()
  ring.kick()
  await new Promise((resolve) => setImmediate(resolve))
  t.equal(base, undefined, 'it waits for the function')
  t.equal(asked.length, 1, 'and takes no other')
  asked[0]?.resolve(0)
  await within(PATIENCE, 'the stop', stopped)
  t.equal(base, 1)
  t.equal(ring.reap().length, 1, 'the answer was given before')

  const next = controlQueue(t, {}, ring, 1)
  await until('the other function', () => next.asked.length === 1)
  t.equal(next.asked[0]?.request.lun, 1)
  next.asked[0]?.resolve(0)
  t.equal((await answers(ring, 1)).length, 1)
})

t.test('what was discarded is neither answered nor waited for', async (t) => {
  for (const stopsBefore of [false, true]) {
    const { ring, queue, asked, failures } = controlQueue(t)
    for (const lun of [0, 1]) ring.add(tmf(TMF.LOGICAL_UNIT_RESET, 0, lun), 1)
    ring.publish()
    await until('the functions', () => asked.length === 2)
    const stopped = stopsBefore ? queue.stop() : undefined
    t.equal(asked[0]?.request.epoch.over, false)
    queue.discard()
    t.equal(asked[0]?.request.epoch.over, true)
    t.equal(await within(PATIENCE, 'the stop', stopped ?? queue.stop()), 2)
    ring.add(tmf(TMF.LOGICAL_UNIT_RESET, 0, 2), 1)
    ring.publish()
    ring.kick()
    const memory = ring.image()
    asked[0]?.resolve(RESPONSE.OK)
    asked[1]?.reject(new Error('too late to matter'))
    // One turn for the watch of the kick descriptor that there should not be, one for what the answers might do.
    for (let i = 0; i < 2; i++) await new Promise((resolve) => setImmediate(resolve))
    t.ok(ring.image().equals(memory), 'nothing is written')
    t.equal(ring.calls, 0)
    t.equal(asked.length, 2)
    t.same(failures, [])
    queue.discard()
    t.equal(await queue.stop(), 2, 'again')
  }
})

t.test('a broken ring', async (t) => {
  const { ring, queue, asked, faults } = controlQueue(t)
  ring.add(tmf(TMF.LOGICAL_UNIT_RESET, 0, 0), 1)
  splitDriver(ring.driver).submitRaw(4711)
  ring.publish()
  await until('the fault', () => faults.length === 1)
  t.same(faults, ['VUS_RING_HEAD_OUT_OF_RANGE'])
  t.equal(ring.errors, 1)
  const stopped = queue.stop()
  asked[0]?.resolve(0)
  t.equal(await within(PATIENCE, 'the stop', stopped), 1)
  t.equal(ring.reap().length, 1, 'what came before is answered')
})
