import t, { type Test } from 'tap'
import { RESPONSE, TMF } from 'vhost-user-protocol-ts'
import { startConfigured } from '../support/configured-daemon.js'
import { type Daemon, startDaemon } from '../support/daemon.js'
import { within } from '../support/deadline.js'
import { read10 } from '../support/iothreads/cdb.js'
import { Initiator } from '../support/vhost/initiator.js'
import { TaskFunctionAsker } from '../support/vhost/task-function.js'
import { WatchedCommand, watchedBytes } from '../support/vhost/watched-command.js'

t.setTimeout(300_000)

const PATIENCE = 30_000
/** Longer than the test: what is held ends only when a function ends it. */
const HELD = `driver=null,size=1G,delay-us=60000000`
const QUEUES = 4
const BLOCK = 512

const FUNCTIONS = { ...TMF, 'of no number': 8 } as const
type FunctionName = keyof typeof FUNCTIONS

const RESPONSE_NAMES = new Map<number, string>(Object.entries(RESPONSE).map(([name, code]) => [code, name]))

/** Target and LUN. */
type Place = readonly [number, number]

/** A guest with watched commands of its own making. */
class Guest {
  readonly initiator: Initiator
  readonly asker: TaskFunctionAsker
  readonly commands: WatchedCommand[] = []
  #tag = 1000

  private constructor(initiator: Initiator) {
    this.initiator = initiator
    this.asker = new TaskFunctionAsker(initiator, PATIENCE)
  }

  static async connect(t: Test, daemon: Daemon, units: readonly Place[]): Promise<Guest> {
    const initiator = await Initiator.connect(daemon.socketPath, { queues: QUEUES, deadline: PATIENCE })
    t.teardown(() => initiator.close())
    for (const [target, lun] of units) await initiator.ready(target, lun)
    return new Guest(initiator)
  }

  /** Reads, on all queues in turn; shown to the device if it is to fetch them. */
  read(count: number, [target, lun]: Place, fetched = true): WatchedCommand[] {
    const made = Array.from({ length: count }, (_, i) => {
      const queue = this.initiator.request(i % QUEUES)
      const memory = this.initiator.memory.allocate(watchedBytes(BLOCK), 64)
      const tag = this.#tag++
      return new WatchedCommand(queue, memory, { cdb: read10(0, 1), target, lun, tag, dataIn: BLOCK })
    })
    this.commands.push(...made)
    if (fetched) for (const { queue } of made) queue.publish()
    return made
  }

  tmf(fn: number, [target, lun]: Place, tag = 0): Promise<number> {
    return this.initiator.tmf(fn, target, lun, tag)
  }

  /** The condition that TEST UNIT READY finds, as ASC/ASCQ; then that there is no other. */
  async attention(t: Test, [target, lun]: Place): Promise<string> {
    const ready = async (): Promise<string> => {
      const { status, sense } = await this.initiator.scsi({ cdb: new Uint8Array(6), target, lun })
      if (status === 0) return ''
      t.equal(sense[2]! & 15, 6, 'UNIT ATTENTION')
      return [sense[12]!, sense[13]!].map((byte) => byte.toString(16).padStart(2, '0')).join('/')
    }
    const first = await ready()
    if (first !== '') t.equal(await ready(), '', 'it is reported once')
    return first
  }

  /** Stops the rings, which ends all I/O, and sees that every command was answered once and that nothing was written after. */
  async finish(t: Test): Promise<void> {
    await within(PATIENCE, 'the answers', Promise.all(this.commands.map(({ done }) => done)))
    await this.initiator.stop()
    for (const queue of this.initiator.queues) {
      queue.collect()
      t.equal(queue.broken, undefined, `ring ${queue.index} has answered nothing twice`)
      t.equal(queue.driver.deviceUsedIndex, queue.driver.availIndex, 'and everything')
    }
    t.ok(
      this.commands.every(({ intact }) => intact),
      'nothing was written after an answer',
    )
    await this.initiator.close()
  }
}

/** What became of commands, as '2 RESET, 6 held'. */
function fates(commands: readonly WatchedCommand[]): string {
  const counts = new Map<string, number>()
  for (const { result } of commands) {
    const name = result === undefined ? 'held' : RESPONSE_NAMES.get(result.response)!
    const fate = name === 'OK' && result!.status === 0 ? 'GOOD' : name
    counts.set(fate, (counts.get(fate) ?? 0) + 1)
  }
  return [...counts].map(([fate, count]) => `${count} ${fate}`).join(', ')
}

/** Each command's residual and used length say that nothing was moved. */
const untouched = (commands: readonly WatchedCommand[]): boolean =>
  commands.every(({ result }) => {
    if (result === undefined || result.response === RESPONSE.OK) return true
    const { status, residual, usedLength, sense, data } = result
    return status === 0 && residual === BLOCK && usedLength === 108 && sense.length === 0 && data.every((b) => b === 0)
  })

const SITUATIONS = [
  'nothing outstanding',
  'on its own queue',
  'on several IOThreads',
  'not fetched yet',
  'just completed',
  'unknown LUN',
  'unknown target',
] as const
type Situation = (typeof SITUATIONS)[number]

const NOTHING = 'OK'
/** The function's response: what became of the commands; the unit attention of their unit. */
const EXPECTED: Record<FunctionName, readonly string[]> = {
  ABORT_TASK: [
    NOTHING,
    'OK: 1 ABORTED',
    'OK: 7 held, 1 ABORTED',
    'OK: 3 held, 1 ABORTED',
    'OK: 1 GOOD',
    'INCORRECT_LUN: 8 held',
    'BAD_TARGET: 8 held',
  ],
  ABORT_TASK_SET: [
    NOTHING,
    'OK: 1 ABORTED',
    'OK: 8 ABORTED',
    'OK: 4 ABORTED',
    'OK: 1 GOOD',
    'INCORRECT_LUN: 8 held',
    'BAD_TARGET: 8 held',
  ],
  CLEAR_ACA: [
    'FUNCTION_REJECTED',
    'FUNCTION_REJECTED: 1 held',
    'FUNCTION_REJECTED: 8 held',
    'FUNCTION_REJECTED: 4 held',
    'FUNCTION_REJECTED: 1 GOOD',
    'FUNCTION_REJECTED: 8 held',
    'FUNCTION_REJECTED: 8 held',
  ],
  CLEAR_TASK_SET: [
    NOTHING,
    'OK: 1 ABORTED',
    'OK: 8 ABORTED',
    'OK: 4 ABORTED',
    'OK: 1 GOOD',
    'INCORRECT_LUN: 8 held',
    'BAD_TARGET: 8 held',
  ],
  I_T_NEXUS_RESET: [
    'OK; 29/07',
    'OK: 1 RESET; 29/07',
    'OK: 8 RESET; 29/07',
    'OK: 4 RESET; 29/07',
    'OK: 1 GOOD; 29/07',
    // The LUN does not matter.
    'OK: 8 RESET; 29/07',
    'OK: 8 held',
  ],
  LOGICAL_UNIT_RESET: [
    'OK; 29/03',
    'OK: 1 RESET; 29/03',
    'OK: 8 RESET; 29/03',
    'OK: 4 RESET; 29/03',
    'OK: 1 GOOD; 29/03',
    'INCORRECT_LUN: 8 held',
    'BAD_TARGET: 8 held',
  ],
  QUERY_TASK: [
    NOTHING,
    'FUNCTION_SUCCEEDED: 1 held',
    'FUNCTION_SUCCEEDED: 8 held',
    'FUNCTION_SUCCEEDED: 4 held',
    'OK: 1 GOOD',
    'INCORRECT_LUN: 8 held',
    'BAD_TARGET: 8 held',
  ],
  QUERY_TASK_SET: [
    NOTHING,
    'FUNCTION_SUCCEEDED: 1 held',
    'FUNCTION_SUCCEEDED: 8 held',
    'FUNCTION_SUCCEEDED: 4 held',
    'OK: 1 GOOD',
    'INCORRECT_LUN: 8 held',
    'BAD_TARGET: 8 held',
  ],
  'of no number': [
    'FUNCTION_REJECTED',
    'FUNCTION_REJECTED: 1 held',
    'FUNCTION_REJECTED: 8 held',
    'FUNCTION_REJECTED: 4 held',
    'FUNCTION_REJECTED: 1 GOOD',
    'FUNCTION_REJECTED: 8 held',
    'FUNCTION_REJECTED: 8 held',
  ],
}

/** The unit that holds its commands, its neighbour, one that answers at once, and one of another target. */
const UNIT: Place = [0, 0]
const NEIGHBOUR: Place = [0, 1]
const PROMPT: Place = [0, 2]
const ELSEWHERE: Place = [4, 0]

const daemon = await startDaemon(t, [
  `--lun=target=0,lun=0,${HELD}`,
  `--lun=target=0,lun=1,${HELD}`,
  '--lun=target=0,lun=2,driver=memory,size=1M',
  `--lun=target=4,lun=0,${HELD}`,
  '--iothread=id=io0',
  '--iothread=id=io1',
  `--num-queues=${QUEUES}`,
])

/** Brings the situation about; what the function is to be asked of, and of which command. */
async function prepare(guest: Guest, situation: Situation) {
  const shown = situation !== 'not fetched yet'
  const count = { 'nothing outstanding': 0, 'on its own queue': 1, 'not fetched yet': 4, 'just completed': 1 }
  const unit = situation === 'just completed' ? PROMPT : UNIT
  const address: Place = situation === 'unknown LUN' ? [0, 9] : situation === 'unknown target' ? [9, 0] : unit
  const commands = guest.read(situation in count ? count[situation as keyof typeof count] : 8, unit, shown)
  if (situation === 'just completed') await within(PATIENCE, 'the answer', commands[0]!.done)
  return {
    commands,
    victim: commands.at(-1)?.tag ?? 1,
    unit,
    address,
    // No kick: the IOThreads may not have noticed when the function comes.
    show: (): void => {
      if (!shown) for (const { queue } of commands) queue.driver.publish()
    },
  }
}

async function cell(t: Test, name: FunctionName, situation: Situation): Promise<string> {
  const fn = FUNCTIONS[name]
  const guest = await Guest.connect(t, daemon, [UNIT, NEIGHBOUR, PROMPT, ELSEWHERE])
  const neighbours = guest.read(2, NEIGHBOUR)
  const others = guest.read(1, ELSEWHERE)
  const usedBefore = guest.initiator.queues.map(({ driver }) => driver.deviceUsedIndex)
  const { commands, victim, unit, address, show } = await prepare(guest, situation)

  const { response, used } = await guest.asker.ask(fn, ...address, victim, show)

  const result = fates(commands)
  const answered = [...commands, ...neighbours, ...others].filter(({ result }) => result !== undefined).length
  const seen = used.reduce((sum, index, i) => sum + (i < 2 ? 0 : index - usedBefore[i]!), 0)
  t.equal(seen, answered, 'all answers were there before that of the function')
  t.ok(untouched(guest.commands))
  const wholeTarget = fn === TMF.I_T_NEXUS_RESET && situation !== 'unknown target'
  t.equal(fates(neighbours), wholeTarget ? '2 RESET' : '2 held')
  t.equal(fates(others), '1 held')

  // What is held is still a task, and can be ended.
  const held = guest.commands.filter(({ result }) => result === undefined)
  for (const { tag } of commands.filter(({ result }) => result === undefined)) {
    t.equal(await guest.tmf(TMF.QUERY_TASK, unit, tag), RESPONSE.FUNCTION_SUCCEEDED)
  }
  for (const place of [UNIT, NEIGHBOUR, ELSEWHERE]) t.equal(await guest.tmf(TMF.ABORT_TASK_SET, place), RESPONSE.OK)
  for (const { done } of held) t.match(await within(PATIENCE, 'the answer', done), { response: RESPONSE.ABORTED })
  const attention = await guest.attention(t, unit)
  t.equal(await guest.attention(t, NEIGHBOUR), wholeTarget ? '29/07' : '')
  t.equal(await guest.attention(t, ELSEWHERE), '')
  await guest.finish(t)
  return `${RESPONSE_NAMES.get(response)}${result === '' ? '' : `: ${result}`}${attention === '' ? '' : `; ${attention}`}`
}

t.test('each function in each situation', async (t) => {
  for (const name of Object.keys(FUNCTIONS) as FunctionName[]) {
    await t.test(name, async (t) => {
      const row: string[] = []
      for (const situation of SITUATIONS) row.push(await cell(t, name, situation))
      t.same(
        Object.fromEntries(SITUATIONS.map((situation, i) => [situation, row[i]])),
        Object.fromEntries(SITUATIONS.map((situation, i) => [situation, EXPECTED[name][i]])),
      )
    })
  }
})

/** Of a unit that two guests share: the response, and for who asked and for the other one commands and unit attention. */
const SHARED: Record<FunctionName, readonly [string, string, string]> = {
  ABORT_TASK: ['OK', '3 held, 1 ABORTED', '4 held'],
  ABORT_TASK_SET: ['OK', '4 ABORTED', '4 held'],
  CLEAR_ACA: ['FUNCTION_REJECTED', '4 held', '4 held'],
  CLEAR_TASK_SET: ['OK', '4 ABORTED', '4 ABORTED; 2f/00'],
  I_T_NEXUS_RESET: ['OK', '4 RESET; 29/07', '4 held'],
  LOGICAL_UNIT_RESET: ['OK', '4 RESET; 29/03', '4 RESET; 29/03'],
  QUERY_TASK: ['FUNCTION_SUCCEEDED', '4 held', '4 held'],
  QUERY_TASK_SET: ['FUNCTION_SUCCEEDED', '4 held', '4 held'],
  'of no number': ['FUNCTION_REJECTED', '4 held', '4 held'],
}

t.test('each function of a unit that two guests share', async (t) => {
  const place = (target: number) => [{ id: 'disk', target, lun: 0 }]
  const daemons = await startConfigured(t, {
    iothreads: [{ id: 'io0' }, { id: 'io1' }],
    luns: [{ id: 'disk', driver: 'null', size: '1G', 'delay-us': 60_000_000, 'read-only': true }],
    controllers: [
      { id: 'a', 'num-queues': QUEUES, luns: place(0) },
      { id: 'b', 'num-queues': QUEUES, luns: place(2) },
    ],
  })
  for (const [name, fn] of Object.entries(FUNCTIONS) as [FunctionName, number][]) {
    await t.test(name, async (t) => {
      const mine = await Guest.connect(t, daemons[0]!, [[0, 0]])
      const theirs = await Guest.connect(t, daemons[1]!, [[2, 0]])
      const own = mine.read(QUEUES, [0, 0])
      const others = theirs.read(QUEUES, [2, 0])
      t.equal(await theirs.tmf(TMF.QUERY_TASK_SET, [2, 0]), RESPONSE.FUNCTION_SUCCEEDED, 'all are fetched')
      const otherUsed = theirs.initiator.queues.map(({ driver }) => driver.deviceUsedIndex)
      const { response } = await mine.asker.ask(fn, 0, 0, own.at(-1)!.tag)
      const theirUsed = theirs.initiator.queues.map(({ driver }) => driver.deviceUsedIndex)
      for (const queue of theirs.initiator.queues) queue.collect()
      // The interrupts' part is done: one turn for what waits for it.
      await new Promise((resolve) => setImmediate(resolve))
      const before = [fates(own), fates(others)]
      const answered = others.filter(({ result }) => result !== undefined).length
      t.equal(
        theirUsed.reduce((sum, used, i) => sum + (i < 2 ? 0 : used - otherUsed[i]!), 0),
        answered,
        'the answers of the other guest, too, were there before that of the function',
      )
      t.equal(await mine.tmf(TMF.ABORT_TASK_SET, [0, 0]), RESPONSE.OK)
      t.equal(await theirs.tmf(TMF.ABORT_TASK_SET, [2, 0]), RESPONSE.OK)
      const attentions = [await mine.attention(t, [0, 0]), await theirs.attention(t, [2, 0])]
      const [a, b] = before.map((fate, i) => (attentions[i] === '' ? fate : `${fate}; ${attentions[i]}`))
      t.same([RESPONSE_NAMES.get(response), a, b], SHARED[name])
      await mine.finish(t)
      await theirs.finish(t)
    })
  }
})
