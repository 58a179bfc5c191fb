import { Mapping } from 'memfd-mmap'
import {
  CHAIN,
  GuestMemory,
  NO_CHAIN,
  PackedChain,
  PackedVirtqueue,
  packedBuffer,
  packedPosition,
} from 'vhost-user-protocol-ts'
import {
  Cursor,
  type Place,
  type PlainElement,
  PlainPackedDriver,
  PlainParts,
  samePlace,
  setEvent,
} from './plain-packed.js'

export type PackedStep = readonly [
  what: 'add' | 'fetch' | 'push' | 'unfetch' | 'publish' | 'reap' | 'wish' | 'arm' | 'disarm' | 'restart',
  count: number,
]

const [ENABLE, DISABLE, DESC] = [0, 1, 2]
const WRITE = 2
const TABLES = 0x4000
const TABLE_BYTES = 16 * 8
const TABLE_COUNT = 512

/** The base of a ring in which nothing is in flight. */
export const baseOf = ({ index, wrap }: Place): number => packedPosition(index, wrap ? 1 : 0) * 0x1_0001

function expect<T>(actual: T, expected: T, what: string): void {
  if (actual !== expected) throw new Error(`${what}: ${actual}, not ${expected}`)
}

interface Chain {
  readonly id: number
  readonly count: number
  readonly elements: readonly PlainElement[]
}

/** The plain driver and the device over one packed ring, and lists of what must come of it. */
export class PackedModel {
  /** Descriptors that the device was given. */
  descriptors = 0
  readonly #size: number
  readonly #eventIdx: boolean
  readonly #parts: PlainParts
  readonly #driver: PlainPackedDriver
  readonly #mapping = Mapping.anonymous(TABLE_COUNT * TABLE_BYTES)
  readonly #tables = new DataView(this.#mapping.view())
  readonly #chain: PackedChain
  #device: PackedVirtqueue
  /** Chains in the ring, in order; fetched ones; the last one fetched; pushed ones with lengths; and published ones. */
  readonly #waiting: Chain[] = []
  readonly #flying: Chain[] = []
  #lastFetched: Chain | undefined
  readonly #pushed: [chain: Chain, length: number][] = []
  readonly #completed: [chain: Chain, length: number][] = []
  /** Up to where the device has fetched, and published. */
  readonly #published: Cursor
  /** What the device has asked for: to be told always, never, or of one place. */
  #wish: 'always' | 'never' | Place = 'always'
  /** What the driver has asked for. */
  #driverWish: 'always' | 'never' | Place = 'always'
  #serial = 0

  constructor(size: number, start: Place, eventIdx: boolean) {
    this.#size = size
    this.#eventIdx = eventIdx
    this.#parts = PlainParts.create(size)
    this.#parts.age(start)
    this.#driver = new PlainPackedDriver(this.#parts, eventIdx, start)
    this.#device = this.#start(baseOf(start))
    this.#published = new Cursor(size, start)
    const region = { guestAddress: TABLES, size: this.#mapping.length, userAddress: 0 }
    const memory = new GuestMemory([{ ...region, hostAddress: this.#mapping.address }])
    this.#chain = new PackedChain(memory, this.#device.desc, size, true)
  }

  close(): void {
    this.#mapping.retire()
  }

  apply([what, count]: PackedStep): void {
    if (what === 'add') this.#add(count)
    else if (what === 'fetch') this.#fetch(count)
    else if (what === 'push') this.#push(count)
    else if (what === 'unfetch') this.#unfetch()
    else if (what === 'publish') this.#publish()
    else if (what === 'reap') this.#reap()
    else if (what === 'wish') this.#wishFor(count)
    else if (what === 'arm') this.#arm()
    else if (what === 'disarm') this.#disarm()
    else this.#restart()
    const available = this.#device.available()
    expect(available, this.#waiting.length, 'available')
    expect(this.#device.hasAvailable(), this.#waiting.length > 0, 'hasAvailable')
    expect(this.#device.unpublished, this.#pushed.length > 0, 'unpublished')
    expect(this.#parts.isUsed(this.#driver.used), this.#completed.length > 0, 'seen by the driver')
  }

  #start(base: number): PackedVirtqueue {
    return new PackedVirtqueue({
      size: this.#size,
      desc: this.#parts.ring.buffer,
      driverEvent: this.#parts.driverEvent.buffer,
      deviceEvent: this.#parts.deviceEvent.buffer,
      base,
      eventIdx: this.#eventIdx,
    })
  }

  #wanted(wish: 'always' | 'never' | Place, passed: readonly Place[]): boolean {
    if (passed.length === 0 || wish === 'never') return false
    return wish === 'always' || passed.some((place) => samePlace(place, wish))
  }

  #add(count: number): void {
    const before = this.#driver.next
    const wasEmpty = this.#waiting.length === 0
    let descriptors = 0
    for (let chains = count % 5; chains > 0; chains--) {
      const serial = this.#serial
      const isIndirect = (count + serial) % 3 === 0
      const total = 1 + ((count + serial) % (isIndirect ? 6 : Math.min(6, this.#size)))
      const taken = isIndirect ? 1 : total
      if (taken > this.#driver.free) break
      this.#serial++
      const readable = count % (total + 1)
      const elements = Array.from({ length: total }, (_, i) => ({
        address: serial * 2 ** 20 + i,
        length: count * 2 ** i + i,
        writable: i >= readable,
      }))
      const id = (serial * 40503) & 0xffff
      this.#driver.add(id, elements, isIndirect ? this.#table(serial, elements) : undefined)
      this.#waiting.push({ id, count: taken, elements })
      descriptors += taken
    }
    this.descriptors += descriptors
    if (wasEmpty) expect(this.#device.hasAvailable(), false, 'seen before it was published')
    const passed = new Cursor(this.#size, before).pass(descriptors)
    expect(this.#driver.publish(), this.#wanted(this.#wish, passed), 'kick')
  }

  #table(serial: number, elements: readonly PlainElement[]): { address: number; bytes: number } {
    const at = (serial % TABLE_COUNT) * TABLE_BYTES
    elements.forEach(({ address, length, writable }, i) => {
      // All flags but WRITE are reserved here, and ignored; so is the id.
      const noise = serial % 2 === 0 ? 0 : 0xffff & ~WRITE
      this.#tables.setBigUint64(at + 16 * i, BigInt(address), true)
      this.#tables.setUint32(at + 16 * i + 8, length, true)
      this.#tables.setUint16(at + 16 * i + 12, serial & 0xffff, true)
      this.#tables.setUint16(at + 16 * i + 14, noise | (writable ? WRITE : 0), true)
    })
    return { address: TABLES + at, bytes: 16 * elements.length }
  }

  #fetch(count: number): void {
    for (let i = count % 8; i > 0; i--) {
      const head = this.#device.fetch()
      const expected = this.#waiting.shift()
      if (expected === undefined) {
        expect(head, NO_CHAIN, 'fetched from an empty ring')
        this.#lastFetched = undefined
        return
      }
      const chain = this.#chain
      chain.start(head)
      for (const element of expected.elements) {
        expect(chain.next(), CHAIN.DESCRIPTOR, 'descriptor')
        expect(chain.address, element.address, 'address')
        expect(chain.length, element.length, 'length')
        expect(chain.writable, element.writable, 'writable')
      }
      expect(chain.next(), CHAIN.END, 'end')
      expect(chain.buffer, packedBuffer(expected.id, expected.count), 'id and count')
      this.#device.advance(chain.buffer)
      this.#flying.push(expected)
      this.#lastFetched = expected
    }
  }

  #unfetch(): void {
    const chain = this.#lastFetched
    if (chain === undefined || !this.#flying.includes(chain)) return
    this.#flying.splice(this.#flying.indexOf(chain), 1)
    this.#waiting.unshift(chain)
    this.#lastFetched = undefined
    this.#device.unfetch()
  }

  #push(count: number): void {
    for (let i = count % 6; i > 0 && this.#flying.length > 0; i--) {
      // Out of order, as disks complete.
      const chain = this.#flying.splice((count * 7 + i) % this.#flying.length, 1)[0]!
      const length = count % 4 === 0 ? 0 : (this.#serial * 0x9e3779b1 + count) >>> 0
      this.#device.push(packedBuffer(chain.id, chain.count), length)
      this.#pushed.push([chain, length])
    }
  }

  #publish(): void {
    const passed = this.#published.pass(this.#pushed.reduce((sum, [chain]) => sum + chain.count, 0))
    expect(this.#device.publish(), this.#wanted(this.#driverWish, passed), 'interrupt')
    this.#completed.push(...this.#pushed.splice(0))
  }

  #reap(): void {
    for (const [chain, length] of this.#completed.splice(0)) {
      const used = this.#driver.reap()
      expect(used?.id, chain.id, 'used id')
      expect(used?.length, length, 'used len')
      expect(used?.written, length > 0, 'WRITE')
    }
    expect(this.#driver.reap(), undefined, 'nothing more')
  }

  #wishFor(count: number): void {
    const kind = count % 4
    if (kind === 0) this.#driverWish = 'never'
    else if (kind === 1 || !this.#eventIdx) this.#driverWish = 'always'
    else if (kind === 2) this.#driverWish = this.#driver.used
    else this.#driverWish = { index: (count * 7) % this.#size, wrap: count % 8 < 4 }
    const wish = this.#driverWish
    if (wish === 'never' || wish === 'always') setEvent(this.#parts.driverEvent, wish === 'never' ? DISABLE! : ENABLE!)
    else setEvent(this.#parts.driverEvent, DESC!, wish)
  }

  #arm(): void {
    expect(this.#device.enableNotifications(), this.#waiting.length > 0, 'armed too late')
    const position = this.#device.nextAvailable
    this.#wish = this.#eventIdx ? { index: position & 0x7fff, wrap: position >= 0x8000 } : 'always'
  }

  #disarm(): void {
    this.#device.disableNotifications()
    this.#wish = 'never'
  }

  /** The ring is stopped and started again, with chains in flight. */
  #restart(): void {
    this.#publish()
    const { base } = this.#device
    this.#device = this.#start(base)
    expect(this.#device.base, base, 'base')
    this.#lastFetched = undefined
  }
}
