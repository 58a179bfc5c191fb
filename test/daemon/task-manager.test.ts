import t from 'tap'
import { LUN_INVALID, RESPONSE, TMF } from 'vhost-user-protocol-ts'
import { type ManagedNexus, type ManagedUnit, manageTask, type Placement } from '../../daemon/task-manager.js'
import { CANCEL, type IoThread } from '../../iothreads/index.js'
import { ATTENTION, createNexusWords, logicalUnitReset, UnitState } from '../../scsi/index.js'

type Command = Parameters<IoThread['send']>[0]

/** An IOThread that writes down what it is told, and answers with a number once it is let. */
class FakeIoThread {
  readonly commands: Command[] = []
  /** What the next commands are answered with; 0 when there is no more. */
  readonly counts: number[] = []
  failure: Error | undefined
  #held: (() => void)[] | undefined

  send(command: Command): Promise<number> {
    this.commands.push(command)
    if (this.failure !== undefined) return Promise.reject(this.failure)
    const count = this.counts.shift() ?? 0
    const held = this.#held
    return held === undefined ? Promise.resolve(count) : new Promise((resolve) => held.push(() => resolve(count)))
  }

  hold(): () => void {
    const held: (() => void)[] = []
    this.#held = held
    return () => {
      this.#held = undefined
      for (const let_ of held) let_()
    }
  }
}

/** IOThreads of a controller, one of whose queues may be on its way from one to another. */
class FakePlacement implements Placement {
  iothreads: readonly FakeIoThread[]
  moving: Promise<void> | undefined

  constructor(iothreads: readonly FakeIoThread[]) {
    this.iothreads = iothreads
  }

  /** Begins a move; what is answered ends it. */
  move(): (iothreads?: readonly FakeIoThread[]) => void {
    let end = (): void => {}
    this.moving = new Promise((resolve) => {
      end = resolve
    })
    return (iothreads = this.iothreads) => {
      this.iothreads = iothreads
      this.moving = undefined
      end()
    }
  }
}

interface Unit extends ManagedUnit {
  readonly nexuses: Set<ManagedNexus>
}

function unit(): Unit {
  const state = UnitState.create(1024)
  return { nexuses: new Set(), reset: async (told) => logicalUnitReset(state, told), lose: async () => {} }
}

function nexus(unit: Unit, controller: string, placement: Placement, target: number, lun: number) {
  const attention = createNexusWords()
  const one: ManagedNexus = { controller, placement, target, lun, attention, unit }
  unit.nexuses.add(one)
  return one
}

/** A controller on two IOThreads with units 0:0, 0:1 and 5:0; another one shares 0:1. */
function setting() {
  const [io0, io1, io2] = [new FakeIoThread(), new FakeIoThread(), new FakeIoThread()]
  const shared = unit()
  const place = new FakePlacement([io0, io1])
  const otherPlace = new FakePlacement([io2])
  const own = [
    nexus(unit(), 'a', place, 0, 0),
    nexus(shared, 'a', place, 0, 1),
    nexus(unit(), 'a', place, 5, 0),
  ] as const
  const others = nexus(shared, 'b', otherPlace, 9, 9)
  const epoch = { over: false }
  const ask = (fn: number, target: number, lun: number, tag: readonly [number, number] = [0, 0]) =>
    manageTask(own, { function: fn, target, lun, tag, epoch })
  const commands = () => [io0, io1, io2].map(({ commands }) => commands)
  return { io0, io1, io2, own, others, place, otherPlace, epoch, ask, commands, shared }
}

const REJECTED = [TMF.CLEAR_ACA, 8, 0x80, 0xffffffff]
const OF_A_UNIT = Object.values(TMF).filter((fn) => fn !== TMF.I_T_NEXUS_RESET && fn !== TMF.CLEAR_ACA)

t.test('what is addressed', async (t) => {
  const { ask, commands } = setting()
  for (const fn of OF_A_UNIT) {
    t.equal(await ask(fn, 1, 0), RESPONSE.BAD_TARGET, `function ${fn} of an unknown target`)
    t.equal(await ask(fn, 0, 2), RESPONSE.INCORRECT_LUN, `function ${fn} of an unknown unit`)
    t.equal(await ask(fn, 5, LUN_INVALID), RESPONSE.INCORRECT_LUN, `function ${fn} of no unit at all`)
  }
  t.equal(await ask(TMF.I_T_NEXUS_RESET, 1, 0), RESPONSE.OK, 'no nexus is left to be reset')
  t.same(commands(), [[], [], []], 'nothing is done')
})

t.test('functions that there are not', async (t) => {
  const { ask, commands, own } = setting()
  for (const fn of REJECTED) {
    for (const [target, lun] of [
      [0, 0],
      [0, 2],
      [1, 0],
    ] as const) {
      t.equal(await ask(fn, target, lun), RESPONSE.FUNCTION_REJECTED, `function ${fn} at ${target}:${lun}`)
    }
  }
  t.same(commands(), [[], [], []])
  t.same(
    own.map(({ attention }) => attention[0]),
    [0, 0, 0],
  )
})

t.test('ABORT TASK ends one task wherever it is', async (t) => {
  const { ask, commands, own } = setting()
  t.equal(await ask(TMF.ABORT_TASK, 0, 1, [7, -8]), RESPONSE.OK)
  const cancel = { type: 'cancel', controller: 'a', target: 0, lun: 1, tag: [7, -8], reason: CANCEL.ABORTED }
  t.same(commands(), [[cancel], [cancel], []], 'each IOThread is asked once')
  t.equal(own[1]?.attention[0], 0)
})

t.test('ABORT TASK SET ends the tasks of this initiator', async (t) => {
  const { ask, commands, own, others } = setting()
  t.equal(await ask(TMF.ABORT_TASK_SET, 0, 1), RESPONSE.OK)
  const cancel = { type: 'cancel', controller: 'a', target: 0, lun: 1, tag: null, reason: CANCEL.ABORTED }
  t.same(commands(), [[cancel], [cancel], []])
  t.same([own[1]?.attention[0], others.attention[0]], [0, 0])
})

t.test('CLEAR TASK SET ends the tasks of all, and tells those who did not ask', async (t) => {
  const { ask, commands, own, others, io2 } = setting()
  io2.counts.push(3)
  t.equal(await ask(TMF.CLEAR_TASK_SET, 0, 1), RESPONSE.OK)
  const cancel = { type: 'cancel', tag: null, reason: CANCEL.ABORTED }
  const mine = { ...cancel, controller: 'a', target: 0, lun: 1 }
  t.same(commands(), [[mine], [mine], [{ ...cancel, controller: 'b', target: 9, lun: 9 }]])
  t.same([own[1]?.attention[0], others.attention[0]], [0, ATTENTION.COMMANDS_CLEARED])
  Atomics.store(others.attention, 0, 0)
  t.equal(await ask(TMF.CLEAR_TASK_SET, 0, 1), RESPONSE.OK)
  t.equal(others.attention[0], 0, 'who lost nothing is not told')
})

t.test('LOGICAL UNIT RESET is for all who have the unit', async (t) => {
  const { ask, commands, own, others, io1 } = setting()
  const release = io1.hold()
  let response: number | undefined
  const done = ask(TMF.LOGICAL_UNIT_RESET, 0, 1).then((answer) => {
    response = answer
  })
  await new Promise((resolve) => setImmediate(resolve))
  t.equal(response, undefined, 'it waits for all tasks')
  t.equal(own[1]?.attention[0], 0, 'and the condition comes after them')
  release()
  await done
  t.equal(response, RESPONSE.OK)
  const cancel = { type: 'cancel', tag: null, reason: CANCEL.RESET }
  const mine = { ...cancel, controller: 'a', target: 0, lun: 1 }
  t.same(commands(), [[mine], [mine], [{ ...cancel, controller: 'b', target: 9, lun: 9 }]])
  const reset = ATTENTION.BUS_DEVICE_RESET
  t.same(
    [...own, others].map(({ attention }) => attention[0]),
    [0, reset, 0, reset],
  )
})

t.test('I_T NEXUS RESET is for all units of the target, but for one initiator', async (t) => {
  const { ask, commands, own, others } = setting()
  t.equal(await ask(TMF.I_T_NEXUS_RESET, 0, 77), RESPONSE.OK, 'the LUN does not matter')
  const cancel = { type: 'cancel', controller: 'a', target: 0, tag: null, reason: CANCEL.RESET }
  const both = [0, 1].map((lun) => ({ ...cancel, lun }))
  t.same(commands(), [both, both, []])
  const loss = ATTENTION.NEXUS_LOSS
  t.same(
    [...own, others].map(({ attention }) => attention[0]),
    [loss, loss, 0, 0],
  )
})

t.test('QUERY TASK and QUERY TASK SET', async (t) => {
  const { ask, commands, io0, io1 } = setting()
  t.equal(await ask(TMF.QUERY_TASK, 0, 0, [1, 2]), RESPONSE.OK, 'there is none')
  io1.counts.push(1)
  t.equal(await ask(TMF.QUERY_TASK, 0, 0, [1, 2]), RESPONSE.FUNCTION_SUCCEEDED)
  io0.counts.push(2)
  t.equal(await ask(TMF.QUERY_TASK_SET, 0, 0, [1, 2]), RESPONSE.FUNCTION_SUCCEEDED)
  t.equal(await ask(TMF.QUERY_TASK_SET, 0, 0, [1, 2]), RESPONSE.OK)
  const query = { type: 'query', controller: 'a', target: 0, lun: 0 }
  const tagged = { ...query, tag: [1, 2] }
  const all = { ...query, tag: null }
  t.same(commands(), [[tagged, tagged, all, all], [tagged, tagged, all, all], []])
})

t.test('an IOThread that fails', async (t) => {
  const { ask, io1, own } = setting()
  io1.failure = new Error('it has died')
  await t.rejects(ask(TMF.LOGICAL_UNIT_RESET, 0, 0), { message: 'it has died' })
  t.equal(own[0]?.attention[0], 0)
})

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

t.test('a queue between two IOThreads: its requests are dealt with before and after', async (t) => {
  const { ask, place, io0, io1, io2, commands } = setting()
  const moved = place.move()
  let response: number | undefined
  const done = ask(TMF.ABORT_TASK_SET, 0, 0).then((answer) => {
    response = answer
  })
  await turn()
  const cancel = { type: 'cancel', controller: 'a', target: 0, lun: 0, tag: null, reason: CANCEL.ABORTED }
  t.same(commands(), [[cancel], [cancel], []], 'what is in flight does not wait for the move')
  t.equal(response, undefined)
  moved([io1, io2])
  await done
  t.equal(response, RESPONSE.OK)
  t.same(commands(), [[cancel], [cancel, cancel], [cancel]], 'those that serve the controller then')

  for (const [fn, found] of [
    [TMF.ABORT_TASK, RESPONSE.OK],
    [TMF.QUERY_TASK, RESPONSE.FUNCTION_SUCCEEDED],
    [TMF.QUERY_TASK_SET, RESPONSE.FUNCTION_SUCCEEDED],
  ] as const) {
    for (const { commands } of [io0, io1, io2]) commands.length = 0
    const again = place.move()
    io1.counts.push(1)
    t.equal(await ask(fn, 0, 0, [1, 0]), found, 'found at once')
    t.same(
      commands().map(({ length }) => length),
      [0, 1, 1],
    )
    again()
  }
  const third = place.move()
  const query = ask(TMF.QUERY_TASK, 0, 0, [1, 0])
  await turn()
  io2.counts.push(1)
  third()
  t.equal(await query, RESPONSE.FUNCTION_SUCCEEDED, 'found afterwards')
})

t.test('one move after another', async (t) => {
  const { ask, place, io0 } = setting()
  const first = place.move()
  const done = ask(TMF.ABORT_TASK_SET, 0, 0)
  await turn()
  first()
  const second = place.move()
  await turn()
  t.equal(io0.commands.length, 1)
  second()
  t.equal(await done, RESPONSE.OK)
  t.equal(io0.commands.length, 2)
})

t.test('after the end of its epoch a function ends nothing more of its own controller', async (t) => {
  for (const fn of [TMF.ABORT_TASK, TMF.ABORT_TASK_SET, TMF.I_T_NEXUS_RESET, TMF.LOGICAL_UNIT_RESET]) {
    const { ask, place, epoch, own, others, commands } = setting()
    const moved = place.move()
    const done = ask(fn, 0, 1)
    await turn()
    const before = commands()[0]!.length
    epoch.over = true
    moved()
    await done
    t.equal(commands()[0]!.length, before, `function ${fn}: no new command suffers`)
    t.equal(own[1].attention[0], 0, 'nor is one told of what was')
    t.equal(others.attention[0], fn === TMF.LOGICAL_UNIT_RESET ? ATTENTION.BUS_DEVICE_RESET : 0)
  }
  const { ask, otherPlace, epoch, own, others, commands, io2 } = setting()
  const moved = otherPlace.move()
  const done = ask(TMF.CLEAR_TASK_SET, 0, 1)
  await turn()
  epoch.over = true
  io2.counts.push(2)
  moved()
  await done
  t.equal(commands()[2]!.length, 2, 'it goes on for others')
  t.same([own[1].attention[0], others.attention[0]], [0, ATTENTION.COMMANDS_CLEARED])
})

t.test('a controller that was taken away is not asked', async (t) => {
  const { ask, otherPlace, others, shared, commands } = setting()
  const moved = otherPlace.move()
  const done = ask(TMF.LOGICAL_UNIT_RESET, 0, 1)
  await turn()
  shared.nexuses.delete(others)
  moved()
  t.equal(await done, RESPONSE.OK)
  t.equal(commands()[2]!.length, 1)
})
