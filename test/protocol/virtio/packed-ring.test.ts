import { Mapping } from 'memfd-mmap'
import t from 'tap'
import {
  CHAIN,
  CHAIN_FAULTS,
  type ChainSegment,
  GuestMemory,
  MAX_CHAIN,
  NO_CHAIN,
  PACKED_BASE_NEW,
  PACKED_DESC_F,
  PACKED_EVENT,
  PackedChain,
  PackedVirtqueue,
  packedRingBytes,
} from 'vhost-user-protocol-ts'
import { times } from '../../support/long.js'
import { Random } from '../../support/random.js'
import { PAIR_ADDRESS, PackedPair } from '../../support/vhost/packed-pair.js'

const { NEXT, WRITE, INDIRECT, AVAIL, USED } = PACKED_DESC_F

function expect<T>(actual: T, expected: T, what: string): void {
  if (actual !== expected) throw new Error(`${what}: ${actual}, not ${expected}`)
}

/** Chains of all kinds through a ring, completed in any order, until it went round `laps` times. The chains. */
function goRound(size: number, laps: number, random: Random): number {
  const eventIdx = random.once(2)
  const pair = new PackedPair({ size, eventIdx, indirectEntries: 6 })
  const { driver, mapping } = pair
  let device = pair.device()
  const memory = new GuestMemory([
    { guestAddress: PAIR_ADDRESS, size: mapping.length, userAddress: 0, hostAddress: mapping.address },
  ])
  let chain = new PackedChain(memory, device.desc, size, true)
  const sent = new Map<number, ChainSegment[]>()
  const held: number[] = []
  const lengths = new Map<number, number>()
  const ids = new Int32Array(size)
  let descriptors = 0
  let chains = 0
  while (descriptors < laps * size) {
    while (driver.freeDescriptors > 0 && !random.once(4)) {
      const style = random.once(2) ? 'indirect' : 'direct'
      const total = 1 + random.below(style === 'direct' ? Math.min(6, driver.freeDescriptors) : 6)
      const readable = random.below(total + 1)
      const segments = Array.from({ length: total }, (_, i) => ({
        address: random.next() * 2 ** 16,
        length: random.below(2 ** 30),
        writable: i >= readable,
      }))
      sent.set(driver.add(segments, style), segments)
      descriptors += style === 'direct' ? total : 1
    }
    driver.publish()
    for (let left = device.available(); left > 0 && !random.once(8); left--) {
      chain.start(device.fetch())
      const seen: ChainSegment[] = []
      let step = chain.next()
      for (; step === CHAIN.DESCRIPTOR; step = chain.next())
        seen.push({ address: chain.address, length: chain.length, writable: chain.writable })
      expect(step, CHAIN.END, 'end')
      expect(JSON.stringify(seen), JSON.stringify(sent.get(chain.id)), 'segments')
      device.advance(chain.buffer)
      held.push(chain.buffer)
    }
    while (held.length > 0 && !random.once(4)) {
      const [buffer] = held.splice(random.below(held.length), 1) as [number]
      const length = random.once(3) ? 0 : random.next()
      lengths.set(buffer & 0xffff, length)
      device.push(buffer, length)
    }
    device.publish()
    if (random.once(50)) {
      device = pair.device(device.base)
      chain = new PackedChain(memory, device.desc, size, true)
    }
    const count = driver.reap(ids)
    for (let i = 0; i < count; i++) {
      expect(driver.usedLength[ids[i]!], lengths.get(ids[i]!), 'length')
      driver.release(ids[i]!)
      chains++
    }
    expect(device.nextUsed, driver.usedIndex, 'both are at the same place')
  }
  pair.close()
  return chains
}

t.test('rings of every size go round many times', async (t) => {
  const random = new Random(times(8192))
  let chains = 0
  for (let size = 1; size <= 48; size++) chains += goRound(size, times(60), random)
  for (const size of [63, 64, 65, 100, 127, 1000]) chains += goRound(size, times(12), random)
  chains += goRound(32767, 3, random)
  chains += goRound(32768, 3, random)
  t.ok(chains > 50_000, `${chains} chains`)
})

const GUARD = 64
const CANARY = 0xa5

/** A ring that anything can be in, between bytes that nobody may touch. */
class WildRing {
  readonly size: number
  readonly mapping: Mapping
  readonly memory: GuestMemory
  readonly #eventIdx: boolean
  readonly #random: Random
  readonly #bytes: Uint8Array
  readonly #view: DataView
  readonly #guards: number[]
  readonly #driverEvent: number
  readonly #deviceEvent: number
  /** What the driver's event structure was last set to. */
  #wish = 0

  constructor(size: number, random: Random) {
    this.size = size
    this.#random = random
    this.#eventIdx = random.once(2)
    this.#driverEvent = GUARD + packedRingBytes(size) + GUARD
    this.#deviceEvent = this.#driverEvent + GUARD
    this.mapping = Mapping.anonymous(this.#deviceEvent + GUARD + 16 * 64)
    this.#bytes = new Uint8Array(this.mapping.view())
    this.#view = new DataView(this.mapping.view())
    this.memory = new GuestMemory([
      { guestAddress: PAIR_ADDRESS, size: this.mapping.length, userAddress: 0, hostAddress: this.mapping.address },
    ])
    const isGuard = (at: number): boolean =>
      at < GUARD ||
      (at >= GUARD + packedRingBytes(size) && at < this.#driverEvent) ||
      (at >= this.#driverEvent + 4 && at < this.#deviceEvent) ||
      (at >= this.#deviceEvent + 4 && at < this.#deviceEvent + GUARD)
    this.#guards = Array.from({ length: this.#deviceEvent + GUARD }, (_, at) => at).filter(isGuard)
    for (const at of this.#guards) this.#bytes[at] = CANARY
  }

  queue(base: number): PackedVirtqueue {
    return new PackedVirtqueue({
      size: this.size,
      desc: this.mapping.view(GUARD, packedRingBytes(this.size)),
      driverEvent: this.mapping.view(this.#driverEvent, PACKED_EVENT.SIZE),
      deviceEvent: this.mapping.view(this.#deviceEvent, PACKED_EVENT.SIZE),
      base,
      eventIdx: this.#eventIdx,
    })
  }

  /** Writes something anywhere in the ring, mostly such as could be a chain. */
  scribble(): void {
    const random = this.#random
    const at = GUARD + 16 * random.below(this.size)
    const isHere = random.once(2)
    const address = isHere ? PAIR_ADDRESS + random.below(this.mapping.length) : random.next()
    this.#view.setUint32(at, address, true)
    this.#view.setUint32(at + 4, random.once(20) ? random.next() : 0, true)
    this.#view.setUint32(at + 8, random.once(8) ? random.next() : 16 * random.below(5), true)
    this.#view.setUint16(at + 12, random.below(4) === 0 ? random.next() & 0xffff : random.below(4), true)
    this.#view.setUint16(at + 14, random.once(10) ? random.next() & 0xffff : this.#flags(), true)
    if (random.once(4)) this.#wish = random.next()
    this.#view.setUint32(this.#driverEvent, this.#wish, true)
    if (random.once(30)) this.#view.setUint32(this.#deviceEvent, random.next(), true)
  }

  #flags(): number {
    const random = this.#random
    const kind = random.pick([NEXT, NEXT, NEXT | WRITE, WRITE, 0, INDIRECT, 0])
    return kind | random.pick([AVAIL, USED, AVAIL, USED, AVAIL | USED, 0])
  }

  /** What the device may not write is as it was. */
  checkGuards(): void {
    expect(this.#view.getUint32(this.#driverEvent, true), this.#wish, 'the driver’s event structure')
    for (const at of this.#guards) expect(this.#bytes[at], CANARY, `guard byte ${at}`)
  }
}

t.test('a ring that changes at random is served or refused, and nothing beside it is touched', async (t) => {
  const random = new Random(times(4099))
  const outcomes = new Map<string, number>()
  const count = (what: string): void => void outcomes.set(what, (outcomes.get(what) ?? 0) + 1)
  for (let i = 0; i < times(300); i++) {
    const ring = new WildRing(random.pick([1, 2, 3, 5, 16, 64]), random)
    let queue = ring.queue(PACKED_BASE_NEW)
    const chain = new PackedChain(ring.memory, queue.desc, ring.size, random.below(4) !== 0)
    const held: number[] = []
    const dies = (why: string): void => {
      count(why)
      // The front end sets the ring up anew.
      const place = (random.below(ring.size) | (random.once(2) ? 0x8000 : 0)) * 0x1_0001
      queue = ring.queue(place)
      held.length = 0
    }
    for (let step = 0; step < 200; step++) {
      for (let k = random.below(4); k > 0; k--) ring.scribble()
      const available = queue.available()
      if (available > ring.size || available < -1) throw new Error(`available: ${available}`)
      if (available < 0) dies('VUS_RING_AVAILABLE_INDEX')
      for (let k = 0; k < available; k++) {
        if (random.once(4)) ring.scribble()
        const at = queue.fetch()
        if (at !== NO_CHAIN && !(at >= 0 && at < ring.size)) throw new Error(`fetched ${at}`)
        chain.start(at)
        let code = chain.next()
        for (let walked = 0; code === CHAIN.DESCRIPTOR; walked++) {
          if (walked > MAX_CHAIN) throw new Error('a chain without end')
          code = chain.next()
        }
        if (code < 0) {
          queue.unfetch()
          expect(queue.fetch(), at, 'the same again')
          expect(at === NO_CHAIN, code === CHAIN.HEAD_OUT_OF_RANGE, 'no chain')
          dies(CHAIN_FAULTS[code] ?? `code ${code}`)
          break
        }
        count('served')
        queue.advance(chain.buffer)
        held.push(chain.buffer)
      }
      while (held.length > 0 && !random.once(3)) {
        if (random.once(4)) ring.scribble()
        queue.push(held.splice(random.below(held.length), 1)[0]!, random.next())
      }
      queue.publish()
      if (random.once(2)) queue.enableNotifications()
      else queue.disableNotifications()
      ring.checkGuards()
    }
    ring.mapping.retire()
  }
  for (const what of [
    'served',
    'VUS_RING_AVAILABLE_INDEX',
    'VUS_RING_HEAD_OUT_OF_RANGE',
    'VUS_RING_DESCRIPTOR_LOOP',
    'VUS_RING_INDIRECT_LENGTH',
    'VUS_RING_INDIRECT_ADDRESS',
    'VUS_RING_INDIRECT_NOT_NEGOTIATED',
    'VUS_RING_INDIRECT_AND_NEXT',
    'VUS_RING_READABLE_AFTER_WRITABLE',
    'VUS_RING_ADDRESS_RANGE',
  ]) {
    t.ok((outcomes.get(what) ?? 0) > 0, `${what}: ${outcomes.get(what)} times`)
    outcomes.delete(what)
  }
  t.same([...outcomes.keys()], [], 'and nothing else')
})
