import { Worker } from 'node:worker_threads'
import t, { type Test } from 'tap'
import { type PackedDriver, type PackedVirtqueue, packedBuffer } from 'vhost-user-protocol-ts'
import { times } from '../../support/long.js'
import { interleave } from '../../support/vhost/interleave.js'
import { BELL, type PackedThreadData } from '../../support/vhost/packed-bells.js'
import { PackedPair } from '../../support/vhost/packed-pair.js'

/** What each side did before: the state in which the race begins. */
const BEFORE = ['nothing', 'asked', 'declined', 'asked long ago'] as const

interface Race {
  readonly pair: PackedPair
  readonly driver: PackedDriver
  readonly device: PackedVirtqueue
  /** Chains of 1, 1 and 2 descriptors, not submitted. */
  readonly ids: readonly number[]
}

const reaped = new Int32Array(8)

/** Fetches and completes all that is there. */
function serve(device: PackedVirtqueue, driver: PackedDriver, counts: ReadonlyMap<number, number>): void {
  const ids: number[] = []
  for (let left = device.available(); left > 0; left--) {
    const at = device.fetch()
    const id = device.desc.getUint16(16 * at + 12, true)
    device.advance(packedBuffer(id, counts.get(id)!))
    ids.push(id)
  }
  for (const id of ids) device.push(packedBuffer(id, counts.get(id)!), 0)
  device.publish()
  driver.reap(reaped)
}

/** A ring of 5 that has moved on by `turns` chains, in the state `before`. */
function raceFrom(eventIdx: boolean, turns: number, before: (typeof BEFORE)[number]): Race {
  const pair = new PackedPair({ size: 5, eventIdx })
  const { driver } = pair
  const device = pair.device()
  const segment = { address: 0, length: 1, writable: false }
  const ids = [driver.prepare([segment]), driver.prepare([segment]), driver.prepare([segment, segment])]
  const counts = new Map(ids.map((id, i) => [id, i < 2 ? 1 : 2]))
  const turn = (i: number): void => {
    driver.submit(ids[i % 3]!)
    driver.publish()
    serve(device, driver, counts)
  }
  for (let i = 0; i < turns; i++) turn(i)
  if (before === 'asked' || before === 'asked long ago') {
    device.enableNotifications()
    driver.enableInterrupts()
  } else if (before === 'declined') {
    device.disableNotifications()
    driver.disableInterrupts()
  }
  if (before === 'asked long ago') for (let i = 0; i < 9; i++) turn(i)
  return { pair, driver, device, ids }
}

/** Runs two operations in every order of their single steps, from every state, and has each outcome judged. */
function everyOrder<A, B>(
  first: (race: Race) => A,
  second: (race: Race) => B,
  judge: (race: Race, a: A, b: B) => string | undefined,
  prepare: (race: Race) => void = () => {},
): { orders: number; faults: string[] } {
  let orders = 0
  const faults: string[] = []
  for (const eventIdx of [false, true]) {
    for (const before of BEFORE) {
      for (let turns = 0; turns < 16; turns++) {
        for (const isFirstOutside of [true, false]) {
          for (let at = 0, reached = true; reached; at++) {
            const race = raceFrom(eventIdx, turns, before)
            try {
              prepare(race)
              let fault: string | undefined
              if (isFirstOutside) {
                const out = interleave(
                  () => first(race),
                  at,
                  () => second(race),
                )
                reached = out.reached
                fault = judge(race, out.body, out.other)
              } else {
                const out = interleave(
                  () => second(race),
                  at,
                  () => first(race),
                )
                reached = out.reached
                fault = judge(race, out.other, out.body)
              }
              if (fault !== undefined) faults.push(`${fault}: eventIdx ${eventIdx}, ${before}, ${turns}, ${at}`)
              orders++
            } finally {
              race.pair.close()
            }
          }
        }
      }
    }
  }
  return { orders, faults }
}

const add = ({ driver, ids }: Race): boolean => {
  driver.submit(ids[1]!)
  driver.submit(ids[2]!)
  return driver.publish()
}

t.test('a device that goes to sleep is notified of what came meanwhile', async (t) => {
  const { orders, faults } = everyOrder(
    ({ device }) => device.enableNotifications(),
    add,
    ({ device }, sawWork, kicked) => {
      if (!device.hasAvailable()) return 'nothing was made available'
      return sawWork || kicked ? undefined : 'asleep, and not notified'
    },
  )
  t.same(faults, [])
  t.ok(orders > 500, `${orders} orders`)
})

t.test('a device that looks first and asks then is caught at it', async (t) => {
  const { faults } = everyOrder(
    ({ device }) => {
      const sawWork = device.hasAvailable()
      device.enableNotifications()
      return sawWork
    },
    add,
    (_, sawWork, kicked) => (sawWork || kicked ? undefined : 'asleep, and not notified'),
  )
  t.ok(faults.length > 0)
})

/** Two chains are with the device, one after another in the ring. */
const give = ({ driver, device, ids }: Race): void => {
  driver.submit(ids[0]!)
  driver.submit(ids[2]!)
  driver.publish()
  device.available()
  for (const count of [1, 2]) {
    device.fetch()
    device.advance(packedBuffer(0, count))
  }
}

const complete = ({ device, ids }: Race): boolean => {
  device.push(packedBuffer(ids[2]!, 2), 0)
  device.push(packedBuffer(ids[0]!, 1), 0)
  return device.publish()
}

t.test('a driver that goes to sleep is notified of what was completed meanwhile', async (t) => {
  const { orders, faults } = everyOrder(
    ({ driver }) => driver.enableInterrupts(),
    complete,
    ({ driver }, sawWork, interrupted) => {
      if (driver.pending !== 2) return 'not both are seen'
      return sawWork || interrupted ? undefined : 'asleep, and not notified'
    },
    give,
  )
  t.same(faults, [])
  t.ok(orders > 500, `${orders} orders`)
})

t.test('a driver that looks first and asks then is caught at it', async (t) => {
  const { faults } = everyOrder(
    ({ driver }) => {
      const sawWork = driver.pending > 0
      driver.enableInterrupts()
      return sawWork
    },
    complete,
    (_, sawWork, interrupted) => (sawWork || interrupted ? undefined : 'asleep, and not notified'),
    give,
  )
  t.ok(faults.length > 0)
})

t.test('a batch is seen whole or not at all', async (t) => {
  const used = everyOrder(
    complete,
    ({ driver }) => driver.reap(reaped),
    (_, __, seen) => (seen === 0 || seen === 2 ? undefined : `${seen} of 2 are seen`),
    give,
  )
  t.same(used.faults, [])
  const available = everyOrder(
    add,
    ({ device }) => {
      return device.available()
    },
    (_, __, seen) => (seen === 0 || seen === 2 ? undefined : `${seen} of 2 are seen`),
  )
  t.same(available.faults, [])
})

/** Serves `chains` chains of a driver in another thread, and sleeps whenever there are none. How often each side slept. */
async function serveThread(
  t: Test,
  size: number,
  eventIdx: boolean,
  chains: number,
): Promise<[device: number, driver: number]> {
  const pair = new PackedPair({ size, eventIdx })
  const device = pair.device()
  const bells = new Int32Array(new SharedArrayBuffer(4 * BELL.COUNT))
  const data: PackedThreadData = {
    size,
    eventIdx,
    address: pair.mapping.address,
    bytes: pair.mapping.length,
    chains,
    bells,
  }
  const worker = new Worker(new URL('../../support/vhost/packed-driver-thread.js', import.meta.url), {
    workerData: data,
  })
  const ended = new Promise<number>((resolve, reject) => worker.once('exit', resolve).once('error', reject))
  // The driver zeroes the ring when it begins; only then may the device look.
  await Promise.race([new Promise((resolve) => worker.once('message', resolve)), ended])
  let served = 0
  let slept = 0
  let lost = false
  const held: number[] = []
  while (served < chains && !lost) {
    const kicks = Atomics.load(bells, BELL.KICKS)
    for (let left = device.available(); left > 0; left--) {
      const at = device.fetch()
      let count = 1
      let place = at
      while ((device.desc.getUint16(16 * place + 14, true) & 1) !== 0) {
        place = (place + 1) % size
        count++
      }
      const buffer = packedBuffer(device.desc.getUint16(16 * place + 12, true), count)
      device.advance(buffer)
      held.push(buffer)
    }
    // Out of order, and not always all of them.
    const now = held.length > 2 ? held.splice(0, held.length - (served % 2)).reverse() : held.splice(0)
    for (const buffer of now) device.push(buffer, 0)
    served += now.length
    if (device.publish()) {
      Atomics.add(bells, BELL.INTERRUPTS, 1)
      Atomics.notify(bells, BELL.INTERRUPTS)
    }
    if (now.length > 0 || served === chains || device.enableNotifications()) continue
    slept++
    lost = Atomics.wait(bells, BELL.KICKS, kicks, 20_000) === 'timed-out'
    if (served % 3 === 0) device.disableNotifications()
  }
  if (lost) await worker.terminate()
  else t.equal(await ended, 0)
  t.equal(served, chains, `${slept} sleeps of the device, ${bells[BELL.DRIVER_SLEEPS]} of the driver`)
  pair.close()
  return [slept, bells[BELL.DRIVER_SLEEPS]!]
}

t.test('two threads that sleep whenever they can lose no notification', async (t) => {
  const slept = [0, 0]
  for (const eventIdx of [false, true]) {
    for (const size of [1, 3, 37]) {
      const [device, driver] = await serveThread(t, size, eventIdx, times(300))
      slept[0]! += device
      slept[1]! += driver
    }
  }
  t.ok(slept[0]! > 0 && slept[1]! > 0, 'both sides slept')
})
