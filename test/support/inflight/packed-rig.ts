import { Mapping } from 'memfd-mmap'
import {
  CHAIN,
  GuestMemory,
  inflightStride,
  NO_CHAIN,
  PACKED_BASE_NEW,
  PACKED_EVENT,
  PackedChain,
  PackedDriver,
  PackedInflight,
  PackedVirtqueue,
  packedRingBytes,
  packedRingLayout,
} from 'vhost-user-protocol-ts'
import { CrashMemory } from './crash-memory.js'
import type { CrashRig, DeviceProcess } from './crash-run.js'

/** Distance of the addresses of two requests' first buffers. */
const APART = 0x1_0000_0000

/** A packed ring with its inflight region, for `entries` descriptors. Chains of up to `longest` descriptors. */
export class PackedRig implements CrashRig {
  readonly memory: CrashMemory
  readonly #mapping: Mapping
  readonly #size: number
  readonly #entries: number
  readonly #longest: number
  readonly #driver: PackedDriver
  readonly #areas: { desc: ArrayBuffer; driverEvent: ArrayBuffer; deviceEvent: ArrayBuffer }
  readonly #region: ArrayBuffer
  readonly #sequences = new Map<number, number>()
  readonly #ids: Int32Array

  constructor(size: number, entries: number, longest: number) {
    const layout = packedRingLayout(size)
    const regionAt = Math.ceil(layout.bytes / 64) * 64
    const regionBytes = inflightStride('packed', entries)
    const mapping = Mapping.anonymous(regionAt + regionBytes)
    this.#mapping = mapping
    this.#size = size
    this.#entries = entries
    this.#longest = longest
    this.#ids = new Int32Array(size)
    this.#driver = new PackedDriver({ size, buffer: mapping.view(), byteOffset: 0, guestAddress: 0x10000 })
    this.#areas = {
      desc: mapping.view(layout.desc, packedRingBytes(size)),
      driverEvent: mapping.view(layout.driverEvent, PACKED_EVENT.SIZE),
      deviceEvent: mapping.view(layout.deviceEvent, PACKED_EVENT.SIZE),
    }
    this.#region = mapping.view(regionAt, regionBytes)
    this.memory = new CrashMemory([...Object.values(this.#areas), this.#region])
  }

  #descriptors(sequence: number): number {
    return 1 + ((sequence * 7) % this.#longest)
  }

  close(): void {
    this.#mapping.unmap()
  }

  submit(sequence: number): boolean {
    const segments = Array.from({ length: this.#descriptors(sequence) }, (_, i) => ({
      address: (sequence + 1) * APART + i,
      length: 16 + i,
      writable: i > 0,
    }))
    if (this.#driver.freeDescriptors < segments.length) return false
    this.#sequences.set(this.#driver.add(segments), sequence)
    return true
  }

  show(): void {
    this.#driver.publish()
  }

  reap(): number[] {
    const count = this.#driver.reap(this.#ids)
    return Array.from(this.#ids.subarray(0, count), (id) => {
      this.#driver.release(id)
      return this.#sequences.get(id)!
    })
  }

  /** Walks a chain of `table`: what stands for it, and its sequence number if all of its descriptors are right. */
  #walk(table: DataView, index: number): { buffer: number; sequence: number } {
    const chain = new PackedChain(new GuestMemory([]), table, this.#size, false)
    chain.start(index)
    let first = 0
    let count = 0
    for (let step = chain.next(); step !== CHAIN.END; step = chain.next(), count++) {
      if (count === 0) first = chain.address
      const right = step === CHAIN.DESCRIPTOR && chain.address === first + count && chain.length === 16 + count
      if (!right || chain.writable !== count > 0) throw new Error(`descriptor ${count} of a chain is not what it was`)
    }
    const sequence = first / APART - 1
    if (count !== this.#descriptors(sequence)) throw new Error(`a chain of ${count} descriptors is not what it was`)
    return { buffer: chain.buffer, sequence }
  }

  boot(): DeviceProcess {
    const size = this.#size
    const inflight = new PackedInflight(this.#region, this.#entries, this.#areas.desc, size)
    const count = inflight.start(PACKED_BASE_NEW)
    if (count < 0) throw new Error('the region is not usable')
    const queue = new PackedVirtqueue({ size, ...this.#areas, base: inflight.base, eventIdx: false })
    const requests = new Map<number, { buffer: number; sequence: number }>()
    const copy = new DataView(new ArrayBuffer(packedRingBytes(size)))
    const recovered = [...inflight.heads.slice(0, count)]
    for (const head of recovered) {
      const buffer = inflight.restore(head, new Int32Array(copy.buffer))
      const walked = this.#walk(copy, 0)
      if (walked.buffer !== buffer) throw new Error('the restored chain is another one')
      requests.set(head, walked)
    }
    return {
      recovered,
      available: () => {
        const there = queue.available()
        if (there < 0) throw new Error('the device has lost its place in the ring')
        return there
      },
      fetch: () => {
        const index = queue.fetch()
        if (index === NO_CHAIN) return undefined
        const walked = this.#walk(queue.desc, index)
        const head = inflight.fetch(index, walked.buffer)
        if (head < 0) throw new Error('no entry is free')
        queue.advance(walked.buffer)
        requests.set(head, walked)
        return head
      },
      complete: (head) => {
        inflight.complete(head)
        queue.push(requests.get(head)!.buffer, 16)
      },
      publish: () => {
        inflight.beforePublish()
        queue.publish()
        inflight.afterPublish()
      },
      sequence: (head) => requests.get(head)!.sequence,
    }
  }
}
