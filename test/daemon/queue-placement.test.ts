import t from 'tap'
import { QueuePlacement } from '../../daemon/queue-placement.js'
import { Ring, type RingServer } from '../../daemon/ring.js'
import type { Command, HostRing, IoThread, UnitSpec } from '../../iothreads/index.js'

/** Takes commands as an IOThread does, and holds them against what its worker would refuse. */
class FakeIoThread {
  readonly id: string
  readonly got: string[] = []
  refuses: Command['type'] | undefined
  /** How many it was given when it was attached. */
  units = 0
  #attached = false

  constructor(id: string) {
    this.id = id
  }

  async send(command: Command): Promise<number> {
    await Promise.resolve()
    if (command.type === this.refuses) throw new Error(`${this.id} refuses ${command.type}`)
    if ((command.type === 'attachController') === this.#attached) throw new Error(`${this.id}: ${command.type}`)
    if (command.type === 'attachController') this.#attached = true
    if (command.type === 'detachController') this.#attached = false
    if (command.type === 'attachController') this.units = command.units.length
    if (command.type === 'setUnits') this.got.push(`setUnits ${command.units.length}`)
    else this.got.push(command.type === 'setMemory' ? `setMemory ${command.regions.length}` : command.type)
    return 0
  }
}

const fakes = (count: number) => Array.from({ length: count }, (_, i) => new FakeIoThread(`io${i}`))
const threads = (list: readonly FakeIoThread[]) => list as unknown as readonly IoThread[]
const REGION = { guestAddress: 0, size: 4096, userAddress: 0, hostAddress: 0 }

/** A ring whose server notes the IOThread that its queue has when it starts. */
function ringOf(placement: QueuePlacement, queue: number, notes: string[], fails: () => boolean = () => false): Ring {
  const server: RingServer = {
    async start() {
      if (fails()) throw new Error('no start')
      notes.push(`start on ${placement.of(queue).id}`)
    },
    async stop() {
      notes.push('stop')
      return 0
    },
    async setCall() {},
    async setErr() {},
  }
  const setup = { index: queue + 2, size: 8, base: 0, desc: 0, avail: 0, used: 0, logAddress: 0, flags: 0 }
  const fds = { kickFd: -1, callFd: -1, errFd: -1 }
  return new Ring({ ...setup, ...fds, features: 0n }, server, (s) => s as unknown as HostRing)
}

t.test('the IOThreads of the queues know the controller, each once', async (t) => {
  const all = fakes(3)
  const [a, b] = threads(all) as [IoThread, IoThread]
  const placement = new QueuePlacement('vm', [a, b, a, b])
  await placement.attach([])
  t.same(placement.iothreads, [a, b])
  t.same(
    all.map(({ got }) => got),
    [['attachController', 'setMemory 0'], ['attachController', 'setMemory 0'], []],
  )
  await placement.setMemory([REGION])
  t.same(all[1]!.got.at(-1), 'setMemory 1')
  await placement.detach()
  t.same(placement.iothreads, [])
  t.same(all[0]!.got.at(-1), 'detachController')
})

t.test('a queue moves to an IOThread that did not know the controller, and the last one takes it along', async (t) => {
  const all = fakes(2)
  const [a, b] = threads(all) as [IoThread, IoThread]
  const placement = new QueuePlacement('vm', [a, a])
  await placement.attach([])
  await placement.setMemory([REGION])
  const notes: string[] = []
  const ring = ringOf(placement, 1, notes)
  await ring.resume()
  t.ok((await placement.move(1, b, () => ring)) > 0)
  t.same(notes, ['start on io0', 'stop', 'start on io1'])
  t.same(all[1]!.got, ['attachController', 'setMemory 1'], 'with the memory of the guest')
  t.same(placement.iothreads, [a, b])
  t.ok(placement.uses(a))
  t.equal(await placement.move(0, b, () => undefined), 0, 'a queue that is not started does not pause')
  t.notOk(placement.uses(a))
  t.same(placement.iothreads, [b])
  t.equal(all[0]!.got.at(-1), 'detachController')
  t.same([placement.moves(0), placement.moves(1)], [1, 1])
  t.equal(await placement.move(0, b, () => undefined), 0)
  t.equal(placement.moves(0), 1, 'to where it is, is no move')
})

t.test('a queue that is in between is told of', async (t) => {
  const [a, b] = threads(fakes(2)) as [IoThread, IoThread]
  const placement = new QueuePlacement('vm', [a])
  await placement.attach([])
  const ring = ringOf(placement, 0, [])
  await ring.resume()
  t.equal(placement.moving, undefined)
  let seen = false
  const move = placement.move(0, b, () => {
    queueMicrotask(() => {
      seen = placement.moving !== undefined
    })
    return ring
  })
  await move
  t.ok(seen)
  t.equal(placement.moving, undefined)
})

t.test('an IOThread that will not have the controller changes nothing', async (t) => {
  const all = fakes(2)
  const [a, b] = threads(all) as [IoThread, IoThread]
  const placement = new QueuePlacement('vm', [a])
  await placement.attach([])
  all[1]!.refuses = 'attachController'
  const notes: string[] = []
  const ring = ringOf(placement, 0, notes)
  await ring.resume()
  await t.rejects(
    placement.move(0, b, () => ring),
    { message: 'io1 refuses attachController' },
  )
  t.equal(placement.of(0), a)
  t.same(placement.iothreads, [a])
  t.same(notes, ['start on io0'])
})

t.test('a queue that cannot be started there goes back', async (t) => {
  const all = fakes(2)
  const [a, b] = threads(all) as [IoThread, IoThread]
  const placement = new QueuePlacement('vm', [a])
  await placement.attach([])
  const notes: string[] = []
  const ring = ringOf(placement, 0, notes, () => placement.of(0) === b)
  await ring.resume()
  await t.rejects(
    placement.move(0, b, () => ring),
    { message: 'no start' },
  )
  t.equal(placement.of(0), a)
  t.same(notes, ['start on io0', 'stop', 'start on io0'])
  t.same(placement.iothreads, [a])
  t.same(all[1]!.got.at(-1), 'detachController')
  t.equal(placement.moving, undefined)
})

t.test('other units', async (t) => {
  const all = fakes(3)
  const [a, b, c] = threads(all) as [IoThread, IoThread, IoThread]
  const placement = new QueuePlacement('vm', [a, b])
  await placement.attach([])
  for (const fake of all) fake.got.length = 0
  const unit = { target: 0, lun: 1 } as UnitSpec
  await placement.setUnits([unit])
  t.same(
    all.map(({ got }) => got),
    [['setUnits 1'], ['setUnits 1'], []],
  )
  all[1]!.refuses = 'setUnits'
  await t.rejects(placement.setUnits([unit, unit]), { message: 'io1 refuses setUnits' })
  all[1]!.refuses = undefined
  t.same(all[0]!.got, ['setUnits 1', 'setUnits 2', 'setUnits 1'], 'all have what they had')
  await placement.move(0, c, () => undefined)
  t.equal(all[2]!.units, 1, 'who comes later has them too')
})
