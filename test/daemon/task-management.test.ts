import t, { type Test } from 'tap'
import { CONTROL_TYPE, RESPONSE, TMF } from 'vhost-user-protocol-ts'
import { startConfigured } from '../support/configured-daemon.js'
import { type Daemon, startDaemon } from '../support/daemon.js'
import { eventually, within } from '../support/deadline.js'
import { Initiator, type InitiatorOptions, type Submitted } from '../support/vhost/initiator.js'
import type { ScsiResult } from '../support/vhost/scsi-request.js'

t.setTimeout(240_000)

const PATIENCE = 30_000
/** How long LUN 0 and 1 of target 0 hold every read. */
const DELAY = 2_000_000
const LUNS = [
  `--lun=target=0,lun=0,driver=null,size=1G,delay-us=${DELAY}`,
  `--lun=target=0,lun=1,driver=null,size=1G,delay-us=${DELAY}`,
  '--lun=target=4,lun=0,driver=memory,size=4M',
  '--iothread=id=io0',
  '--iothread=id=io1',
  '--num-queues=4',
]
const READ = [0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0]

const daemon = await startDaemon(t, LUNS)

async function connect(t: Test, to: Daemon = daemon, o: InitiatorOptions = {}): Promise<Initiator> {
  const initiator = await Initiator.connect(to.socketPath, { queues: 4, deadline: PATIENCE, ...o })
  t.teardown(() => initiator.close())
  return initiator
}

/** Takes the unit attentions of a fresh connection. */
async function ready(initiator: Initiator): Promise<void> {
  for (const [target, lun] of [
    [0, 0],
    [0, 1],
    [4, 0],
  ] as const) {
    await initiator.ready(target, lun)
  }
}

/** A read that its LUN holds, and the order in which it was answered. */
interface Held extends Submitted {
  readonly result: Promise<ScsiResult>
}

/** Starts held reads on all queues in turn, and waits until the daemon has them; `order` gets their tags as they are answered. */
async function hold(
  initiator: Initiator,
  count: number,
  lun: number,
  order: (number | string)[] = [],
): Promise<Held[]> {
  const held = Array.from({ length: count }, (_, i) => {
    const submitted = initiator.submit({ cdb: READ, target: 0, lun, dataIn: 512 }, { queue: i % 4 })
    const result = submitted.done.then((answer) => {
      order.push(submitted.tag)
      return answer
    })
    result.catch(() => {})
    return { ...submitted, result }
  })
  await Promise.all(
    held.map(({ tag }) =>
      eventually(PATIENCE, `command ${tag} in the daemon`, async () =>
        (await initiator.tmf(TMF.QUERY_TASK, 0, lun, tag)) === RESPONSE.FUNCTION_SUCCEEDED ? true : undefined,
      ),
    ),
  )
  return held
}

const all = (held: readonly Held[]): Promise<ScsiResult[]> =>
  within(PATIENCE, 'the answers', Promise.all(held.map(({ result }) => result)))

/** The sense of TEST UNIT READY: key, ASC, ASCQ; undefined when it is GOOD. */
async function sense(initiator: Initiator, target: number, lun: number): Promise<number[] | undefined> {
  const { status, sense } = await initiator.scsi({ cdb: [0, 0, 0, 0, 0, 0], target, lun })
  return status === 0 ? undefined : [sense[2]! & 15, sense[12]!, sense[13]!]
}

const TAKEN_AWAY = { status: 0, residual: 512, usedLength: 108 }

t.test('ABORT TASK', async (t) => {
  const initiator = await connect(t)
  await ready(initiator)
  const order: (number | string)[] = []
  const held = await hold(initiator, 4, 0, order)
  const victim = held[2]!
  t.equal(await initiator.tmf(TMF.ABORT_TASK, 0, 0, victim.tag), RESPONSE.OK)
  order.push('aborted')
  t.ok(order.indexOf(victim.tag) < order.indexOf('aborted'), 'the command is answered before the function', { order })
  t.match(await victim.result, { response: RESPONSE.ABORTED, ...TAKEN_AWAY })
  const others = (await all(held)).filter((_, i) => i !== 2)
  t.ok(
    others.every(({ response, status }) => response === RESPONSE.OK && status === 0),
    'the others end as they should',
  )
  t.equal(await sense(initiator, 0, 0), undefined, 'no unit attention')
  t.equal(await initiator.tmf(TMF.ABORT_TASK, 0, 0, victim.tag), RESPONSE.OK, 'a task that is not there')
  t.equal(await initiator.tmf(TMF.QUERY_TASK, 0, 0, victim.tag), RESPONSE.OK, 'nor is it found')
})

t.test('ABORT TASK and ABORT TASK SET of another unit leave a command alone', async (t) => {
  const initiator = await connect(t)
  await ready(initiator)
  const held = await hold(initiator, 2, 0)
  t.equal(await initiator.tmf(TMF.ABORT_TASK, 0, 1, held[0]!.tag), RESPONSE.OK)
  t.equal(await initiator.tmf(TMF.ABORT_TASK_SET, 0, 1), RESPONSE.OK)
  t.equal(await initiator.tmf(TMF.LOGICAL_UNIT_RESET, 4, 0), RESPONSE.OK)
  t.ok((await all(held)).every(({ response, status }) => response === 0 && status === 0))
})

for (const [name, fn, response, attention] of [
  ['ABORT TASK SET', TMF.ABORT_TASK_SET, RESPONSE.ABORTED, undefined],
  ['CLEAR TASK SET', TMF.CLEAR_TASK_SET, RESPONSE.ABORTED, undefined],
  ['LOGICAL UNIT RESET', TMF.LOGICAL_UNIT_RESET, RESPONSE.RESET, [6, 0x29, 3]],
  ['I_T NEXUS RESET', TMF.I_T_NEXUS_RESET, RESPONSE.RESET, [6, 0x29, 7]],
] as const) {
  t.test(name, async (t) => {
    const initiator = await connect(t)
    await ready(initiator)
    const order: (number | string)[] = []
    const held = await hold(initiator, 12, 0, order)
    const others = await hold(initiator, 4, 1)
    t.equal(await initiator.tmf(TMF.QUERY_TASK_SET, 0, 0), RESPONSE.FUNCTION_SUCCEEDED)
    t.equal(await initiator.tmf(fn, 0, 0), RESPONSE.OK)
    order.push('done')
    t.equal(order.indexOf('done'), held.length, 'all are answered before the function', { order })
    t.equal(new Set(order).size, held.length + 1, 'each once')
    for (const result of await all(held)) t.match(result, { response, ...TAKEN_AWAY })
    t.same(await sense(initiator, 0, 0), attention, 'the unit attention')
    t.equal(await sense(initiator, 0, 0), undefined, 'is reported once')
    const wholeTarget = fn === TMF.I_T_NEXUS_RESET
    for (const result of await all(others))
      t.equal(result.response, wholeTarget ? response : RESPONSE.OK, 'the other unit')
    t.same(await sense(initiator, 0, 1), wholeTarget ? attention : undefined)
    t.equal(await sense(initiator, 4, 0), undefined, 'another target is left alone')
    t.equal(await initiator.tmf(TMF.QUERY_TASK_SET, 0, 0), RESPONSE.OK, 'nothing is left')
  })
}

t.test('commands that come while a reset is under way are served', async (t) => {
  const initiator = await connect(t)
  await ready(initiator)
  const held = await hold(initiator, 8, 0)
  const reset = initiator.tmf(TMF.LOGICAL_UNIT_RESET, 0, 0)
  const during = Array.from({ length: 8 }, (_, i) =>
    initiator.scsi({ cdb: [0x12, 0, 0, 0, 36, 0], target: 0, lun: 0, dataIn: 36 }, { queue: i % 4 }),
  )
  t.ok((await Promise.all(during)).every(({ response, status }) => response === 0 && status === 0))
  t.equal(await reset, RESPONSE.OK)
  for (const { response } of await all(held)) t.equal(response, RESPONSE.RESET)
})

t.test('functions at the same time', async (t) => {
  const initiator = await connect(t)
  await ready(initiator)
  const held = await hold(initiator, 8, 0)
  const functions = [
    initiator.tmf(TMF.LOGICAL_UNIT_RESET, 0, 0),
    initiator.tmf(TMF.ABORT_TASK, 0, 0, held[0]!.tag),
    initiator.tmf(TMF.ABORT_TASK_SET, 0, 0),
    initiator.tmf(TMF.I_T_NEXUS_RESET, 0, 0),
  ]
  t.same(await Promise.all(functions), [0, 0, 0, 0])
  for (const { response } of await all(held)) t.equal(response, RESPONSE.RESET, 'whoever was first')
  t.same(await sense(initiator, 0, 0), [6, 0x29, 3])
  t.same(await sense(initiator, 0, 0), [6, 0x29, 7])
  t.equal(await sense(initiator, 0, 0), undefined)
})

t.test('functions that cannot be', async (t) => {
  const initiator = await connect(t)
  t.equal(await initiator.tmf(TMF.CLEAR_ACA, 0, 0), RESPONSE.FUNCTION_REJECTED)
  t.equal(await initiator.tmf(8, 0, 0), RESPONSE.FUNCTION_REJECTED)
  t.equal(await initiator.tmf(0xffffffff, 0, 0), RESPONSE.FUNCTION_REJECTED)
  t.equal(await initiator.tmf(TMF.LOGICAL_UNIT_RESET, 1, 0), RESPONSE.BAD_TARGET)
  t.equal(await initiator.tmf(TMF.I_T_NEXUS_RESET, 255, 0), RESPONSE.OK, 'no nexus is left to be reset')
  t.equal(await initiator.tmf(TMF.LOGICAL_UNIT_RESET, 0, 2), RESPONSE.INCORRECT_LUN)
  t.equal(await initiator.tmf(TMF.QUERY_TASK, 4, 16383), RESPONSE.INCORRECT_LUN)
})

t.test('requests of the control queue that are none', async (t) => {
  const initiator = await connect(t)
  for (const [type, readable] of [
    [CONTROL_TYPE.TMF, 23],
    [CONTROL_TYPE.AN_QUERY, 15],
    [3, 24],
  ] as const) {
    const answer = await initiator.controlRequest(readable, 5, (bytes) => {
      new DataView(bytes.buffer, bytes.byteOffset).setUint32(0, type, true)
    })
    t.same([...answer], [0xee, 0xee, 0xee, 0xee, 0xee], `type ${type} of ${readable} bytes is given back as it is`)
  }
  for (const type of [CONTROL_TYPE.AN_QUERY, CONTROL_TYPE.AN_SUBSCRIBE]) {
    t.same(await initiator.asyncNotification(type, 0, 0, 0xffff), { events: 0, response: RESPONSE.OK })
  }
  t.equal(await initiator.tmf(TMF.QUERY_TASK_SET, 0, 0), RESPONSE.OK, 'the queue works on')
})

t.test('a LUN that two guests share', async (t) => {
  const place = (target: number) => [{ id: 'disk', target, lun: 0 }]
  const daemons = await startConfigured(t, {
    luns: [{ id: 'disk', driver: 'null', size: '1G', 'delay-us': DELAY, 'read-only': true }],
    controllers: [
      { id: 'a', 'num-queues': 4, luns: place(0) },
      { id: 'b', 'num-queues': 4, luns: place(2) },
    ],
  })
  const [a, b] = [await connect(t, daemons[0]), await connect(t, daemons[1])]
  await a.ready(0, 0)
  await b.ready(2, 0)
  const read = (initiator: Initiator, target: number) =>
    initiator.submit({ cdb: READ, target, lun: 0, dataIn: 512 }).done
  const started = async (initiator: Initiator, target: number): Promise<void> => {
    await eventually(PATIENCE, 'the read in the daemon', async () =>
      (await initiator.tmf(TMF.QUERY_TASK_SET, target, 0)) === RESPONSE.FUNCTION_SUCCEEDED ? true : undefined,
    )
  }

  const aborted = [read(a, 0), read(b, 2)]
  await started(a, 0)
  await started(b, 2)
  t.equal(await a.tmf(TMF.ABORT_TASK_SET, 0, 0), RESPONSE.OK)
  const [mine, theirs] = await within(PATIENCE, 'the answers', Promise.all(aborted))
  t.same([mine?.response, theirs?.response], [RESPONSE.ABORTED, RESPONSE.OK], 'ABORT TASK SET is for one initiator')

  const cleared = [read(a, 0), read(b, 2)]
  await started(a, 0)
  await started(b, 2)
  t.equal(await a.tmf(TMF.CLEAR_TASK_SET, 0, 0), RESPONSE.OK)
  const both = await within(PATIENCE, 'the answers', Promise.all(cleared))
  t.same(
    both.map(({ response }) => response),
    [RESPONSE.ABORTED, RESPONSE.ABORTED],
    'CLEAR TASK SET is for all',
  )
  t.same(await sense(b, 2, 0), [6, 0x2f, 0], 'COMMANDS CLEARED BY ANOTHER INITIATOR')
  t.equal(await sense(a, 0, 0), undefined)

  const reset = [read(a, 0), read(b, 2)]
  await started(a, 0)
  await started(b, 2)
  t.equal(await b.tmf(TMF.LOGICAL_UNIT_RESET, 2, 0), RESPONSE.OK)
  const gone = await within(PATIENCE, 'the answers', Promise.all(reset))
  t.same(
    gone.map(({ response }) => response),
    [RESPONSE.RESET, RESPONSE.RESET],
    'LOGICAL UNIT RESET too',
  )
  t.same(
    [await sense(a, 0, 0), await sense(b, 2, 0)],
    [
      [6, 0x29, 3],
      [6, 0x29, 3],
    ],
  )
})
