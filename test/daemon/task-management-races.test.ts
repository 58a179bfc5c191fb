/** Task management functions that race with the completions of what they are to end. */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { RESPONSE, TMF } from 'vhost-user-protocol-ts'
import { startConfigured } from '../support/configured-daemon.js'
import { type Daemon, startDaemon } from '../support/daemon.js'
import { within } from '../support/deadline.js'
import { FUA, read10, write10 } from '../support/iothreads/cdb.js'
import { times } from '../support/long.js'
import { Random } from '../support/random.js'
import { tempDir } from '../support/temp-dir.js'
import { ask } from '../support/unix-http.js'
import { Initiator } from '../support/vhost/initiator.js'
import { TaskFunctionAsker } from '../support/vhost/task-function.js'
import { WatchedCommand, watchedBytes } from '../support/vhost/watched-command.js'

t.setTimeout(1_200_000)

const PATIENCE = 60_000
const QUEUES = 4
const BLOCK = 512
const BLOCKS = 2048
/** Blocks of each command. */
const COUNT = 8
const MEMORY = 0
const NULL = 1
const FILE = 2
const LUNS = [MEMORY, NULL, FILE]
/** Commands of one race, at most, and commands whose memory is watched before it is used again. */
const MOST = 8
const ROOMS = 512

const directory = tempDir(t)
const image = join(directory, 'disk.img')
const control = join(directory, 'control.sock')

/** What `count` blocks from `lba` on hold, of those disks that hold something. */
const blocks = (lba: number, count: number): Buffer =>
  Buffer.concat(Array.from({ length: count }, (_, i) => Buffer.alloc(BLOCK, `block ${lba + i} `)))

writeFileSync(image, blocks(0, BLOCKS))

const daemon = await startDaemon(t, [
  `--lun=target=0,lun=${MEMORY},driver=memory,size=1M`,
  `--lun=target=0,lun=${NULL},driver=null,size=1M,delay-us=300`,
  `--lun=target=0,lun=${FILE},path=${image}`,
  '--iothread=id=io0',
  '--iothread=id=io1',
  `--num-queues=${QUEUES}`,
  `--control-socket=${control}`,
])

/** A function, the responses that commands of its scope may get from it, and whether they are over when it is answered. */
const FUNCTIONS = [
  { fn: TMF.ABORT_TASK, weight: 12, taken: RESPONSE.ABORTED },
  { fn: TMF.ABORT_TASK_SET, weight: 2, taken: RESPONSE.ABORTED },
  { fn: TMF.CLEAR_TASK_SET, weight: 1, taken: RESPONSE.ABORTED },
  { fn: TMF.LOGICAL_UNIT_RESET, weight: 2, taken: RESPONSE.RESET },
  { fn: TMF.I_T_NEXUS_RESET, weight: 1, taken: RESPONSE.RESET },
  { fn: TMF.QUERY_TASK, weight: 2, taken: undefined },
  { fn: TMF.QUERY_TASK_SET, weight: 1, taken: undefined },
] as const
const TAKEN = new Set<number>([RESPONSE.ABORTED, RESPONSE.RESET])
const CHOICES = FUNCTIONS.flatMap((each) => new Array<(typeof FUNCTIONS)[number]>(each.weight).fill(each))

interface Racing {
  readonly command: WatchedCommand
  readonly writes: boolean
  readonly lun: number
  readonly lba: number
}

/** One guest that has a function race with its commands, again and again. */
class Races {
  readonly initiator: Initiator
  /** Nobody else has the disks. */
  readonly #alone: boolean
  /** Commands that a function was for, by what became of them. */
  readonly fates = { completed: 0, aborted: 0, reset: 0 }
  readonly #asker: TaskFunctionAsker
  readonly #random: Random
  readonly #rooms: { memory: ReturnType<Initiator['memory']['allocate']>; user: WatchedCommand | undefined }[]
  #room = 0
  #tag = 1000

  private constructor(initiator: Initiator, random: Random, alone: boolean) {
    this.initiator = initiator
    this.#random = random
    this.#alone = alone
    this.#asker = new TaskFunctionAsker(initiator, PATIENCE)
    this.#rooms = Array.from({ length: ROOMS }, () => ({
      memory: initiator.memory.allocate(watchedBytes(COUNT * BLOCK), 64),
      user: undefined,
    }))
  }

  static async connect(t: Test, to: Daemon, seed: number, alone = true): Promise<Races> {
    const initiator = await Initiator.connect(to.socketPath, { queues: QUEUES, deadline: PATIENCE })
    t.teardown(() => initiator.close())
    const races = new Races(initiator, new Random(seed), alone)
    await races.#ready()
    for (let lba = 0; lba < BLOCKS; lba += 64) {
      const command = { cdb: write10(lba, 64), target: 0, lun: MEMORY, dataOut: blocks(lba, 64) }
      const { response, status } = await initiator.scsi(command)
      if (response !== 0 || status !== 0) throw new Error(`write: response ${response}, status ${status}`)
    }
    return races
  }

  async #ready(): Promise<void> {
    for (const lun of LUNS) await this.initiator.ready(0, lun)
  }

  /** Some commands, not shown to the device yet. */
  #commands(): Racing[] {
    const random = this.#random
    const most = random.pick(LUNS)
    return Array.from({ length: 1 + random.below(MOST) }, () => {
      const lun = random.once(4) ? random.pick(LUNS) : most
      const lba = random.below(BLOCKS - COUNT)
      const room = this.#rooms[this.#room++ % ROOMS]!
      if (room.user?.intact === false)
        throw new Error(`memory of command ${room.user.tag} was written after its answer`)
      const queue = this.initiator.request(random.below(QUEUES))
      const tag = this.#tag++
      // Durable writes of what is there already: of a file they take their time in the kernel.
      const writes = random.once(lun === FILE ? 3 : 8)
      const command = writes
        ? { cdb: write10(lba, COUNT, FUA), dataOut: blocks(lba, COUNT) }
        : { cdb: read10(lba, COUNT), dataIn: COUNT * BLOCK }
      room.user = new WatchedCommand(queue, room.memory, { ...command, target: 0, lun, tag })
      return { command: room.user, writes, lun, lba }
    })
  }

  /** Lets some time pass, or none, or waits until a command has been answered. */
  async #lead(commands: readonly Racing[]): Promise<void> {
    const random = this.#random
    if (random.once(3)) return
    if (random.once(4)) {
      await within(PATIENCE, 'an answer', Promise.race(commands.map(({ command }) => command.done)))
      return
    }
    const end = performance.now() + random.below(500) / 1000
    while (performance.now() < end);
  }

  /** One function against up to MOST commands. Throws at the first thing that is not as it should be. */
  async race(): Promise<void> {
    const random = this.#random
    const racing = this.#commands()
    const victim = random.pick(racing)
    const { fn, taken } = random.pick(CHOICES)
    // The others are in the ring when the function is, but the IOThreads have not been told.
    const isTold = racing.map(() => !random.once(4))
    racing.forEach(({ command }, i) => {
      if (isTold[i]) command.queue.publish()
    })
    if (isTold.some((told) => told)) await this.#lead(racing.filter((_, i) => isTold[i]))
    const { response } = await this.#asker.ask(fn, 0, victim.lun, victim.command.tag, () => {
      for (const { command } of racing) command.queue.driver.publish()
    })

    const scope = racing.filter((each) => inScope(fn, each, victim))
    const what = `function ${fn} for command ${victim.command.tag}`
    if (taken !== undefined) {
      if (response !== RESPONSE.OK) throw new Error(`${what}: ${response}`)
      for (const { command } of scope)
        if (command.result === undefined) throw new Error(`${what} was answered before command ${command.tag}`)
    } else if (response === RESPONSE.OK) {
      for (const { command } of scope)
        if (command.result === undefined) throw new Error(`${what} has not found command ${command.tag}`)
    } else if (response !== RESPONSE.FUNCTION_SUCCEEDED) {
      throw new Error(`${what}: ${response}`)
    }
    await within(PATIENCE, 'the answers', Promise.all(racing.map(({ command }) => command.done)))
    for (const each of racing) this.#check(each, scope.includes(each) ? taken : undefined)
    if (fn === TMF.LOGICAL_UNIT_RESET || fn === TMF.I_T_NEXUS_RESET) await this.#ready()
  }

  #check({ command, writes, lun, lba }: Racing, taken: number | undefined): void {
    const { response, status, data, residual, sense, usedLength } = command.result!
    // Of what somebody else's function did, a command is taken away, or hears.
    if (!this.#alone && status === 2 && (sense[2]! & 15) === 6) return
    const isTaken = response !== RESPONSE.OK && (response === taken || (!this.#alone && TAKEN.has(response)))
    const moved = isTaken ? 0 : COUNT * BLOCK
    if (
      (!isTaken && response !== RESPONSE.OK) ||
      status !== 0 ||
      sense.length !== 0 ||
      residual !== COUNT * BLOCK - moved ||
      usedLength !== 108 + (writes ? 0 : moved)
    ) {
      const rest = `residual ${residual}, ${usedLength} bytes, sense ${Buffer.from(sense).toString('hex')}`
      throw new Error(`command ${command.tag} of LUN ${lun}: response ${response}, status ${status}, ${rest}`)
    }
    if (response === RESPONSE.RESET) this.fates.reset++
    else if (response === RESPONSE.ABORTED) this.fates.aborted++
    else if (taken !== undefined) this.fates.completed++
    if (isTaken || writes) return
    if (!Buffer.from(data).equals(lun === NULL ? Buffer.alloc(data.length) : blocks(lba, COUNT)))
      throw new Error(`command ${command.tag}: wrong data of ${lba}`)
  }

  /** Stops the rings, which ends all I/O: every command was answered once, and nothing was written afterwards. */
  async finish(t: Test): Promise<void> {
    await this.initiator.stop()
    for (const queue of this.initiator.queues) {
      queue.collect()
      t.equal(queue.broken, undefined, `ring ${queue.index} has answered nothing twice`)
      t.equal(queue.driver.outstanding, 0, 'and everything')
    }
    t.ok(
      this.#rooms.every(({ user }) => user?.intact ?? true),
      'nothing was written after an answer',
    )
    t.ok(readFileSync(image).equals(blocks(0, BLOCKS)), 'and nothing was read')
    await this.initiator.close()
  }
}

function inScope(fn: number, { command, lun }: Racing, victim: Racing): boolean {
  if (fn === TMF.I_T_NEXUS_RESET) return true
  return fn === TMF.ABORT_TASK || fn === TMF.QUERY_TASK ? command === victim.command : lun === victim.lun
}

t.test('functions against completions', async (t) => {
  const races = await Races.connect(t, daemon, 1)
  const count = times(500)
  for (let i = 0; i < count; i++) await races.race()
  await races.finish(t)
  t.comment(`${count} races: ${JSON.stringify(races.fates)}`)
  for (const [fate, number] of Object.entries(races.fates)) t.ok(number > 0, `${number} commands ${fate}`)
})

t.test('functions against completions of queues that move between IOThreads', async (t) => {
  const races = await Races.connect(t, daemon, 2)
  const random = new Random(3)
  let running = true
  let moves = 0
  const [{ controller }] = (await ask(control, 'GET', '/v1/queues')).json as [{ controller: string }]
  const mover = (async () => {
    for (; running; moves++) {
      const path = `/v1/controllers/${controller}/queues/${random.below(QUEUES)}`
      const { status, body } = await ask(control, 'PUT', path, { iothread: `io${random.below(2)}` })
      if (status !== 200) throw new Error(`${path}: ${status} ${body}`)
    }
  })()
  mover.catch(() => {})
  const count = times(150)
  for (let i = 0; i < count; i++) await races.race()
  running = false
  await within(PATIENCE, 'the last move', mover)
  await races.finish(t)
  t.ok(moves > 0)
  t.comment(`${count} races, ${moves} moves: ${JSON.stringify(races.fates)}`)
  for (const [fate, number] of Object.entries(races.fates)) t.ok(number > 0, `${number} commands ${fate}`)
})

t.test('functions of two guests that share their disks', async (t) => {
  const luns = [
    { id: 'memory', driver: 'memory', size: '1M', 'share-rw': true },
    { id: 'null', driver: 'null', size: '1M', 'delay-us': 300, 'share-rw': true },
    { id: 'file', path: image, 'share-rw': true },
  ]
  const places = luns.map(({ id }, lun) => ({ id, target: 0, lun }))
  const daemons = await startConfigured(t, {
    iothreads: [{ id: 'io0' }, { id: 'io1' }],
    luns,
    controllers: ['a', 'b'].map((id) => ({ id, 'num-queues': QUEUES, luns: places })),
  })
  const guests = [await Races.connect(t, daemons[0]!, 4, false), await Races.connect(t, daemons[1]!, 5, false)]
  const count = times(100)
  await Promise.all(
    guests.map(async (races) => {
      for (let i = 0; i < count; i++) await races.race()
    }),
  )
  for (const races of guests) {
    await races.finish(t)
    t.comment(`${count} races: ${JSON.stringify(races.fates)}`)
    for (const [fate, number] of Object.entries(races.fates)) t.ok(number > 0, `${number} commands ${fate}`)
  }
})
