import { Mapping } from 'memfd-mmap'
import {
  availBytes,
  descBytes,
  inflightStride,
  SplitDriver,
  SplitInflight,
  SplitVirtqueue,
  splitRingLayout,
  usedBytes,
} from 'vhost-user-protocol-ts'
import { CrashMemory } from './crash-memory.js'
import type { CrashRig, DeviceProcess } from './crash-run.js'

/** A split ring with its inflight region, for `entries` descriptors; the ring's indices begin at `start`. */
export class SplitRig implements CrashRig {
  readonly memory: CrashMemory
  readonly #mapping: Mapping
  readonly #size: number
  readonly #entries: number
  readonly #eventIdx: boolean
  readonly #driver: SplitDriver
  readonly #areas: { desc: ArrayBuffer; avail: ArrayBuffer; used: ArrayBuffer }
  readonly #region: ArrayBuffer
  readonly #sequences = new Map<number, number>()
  readonly #heads: Int32Array

  constructor(size: number, entries: number, eventIdx: boolean) {
    const layout = splitRingLayout(size)
    const regionAt = Math.ceil(layout.bytes / 64) * 64
    const regionBytes = inflightStride('split', entries)
    const mapping = Mapping.anonymous(regionAt + regionBytes)
    this.#mapping = mapping
    this.#size = size
    this.#entries = entries
    this.#eventIdx = eventIdx
    this.#heads = new Int32Array(size)
    this.#driver = new SplitDriver({ size, buffer: mapping.view(), byteOffset: 0, guestAddress: 0x10000, eventIdx })
    this.#areas = {
      desc: mapping.view(layout.desc, descBytes(size)),
      avail: mapping.view(layout.avail, availBytes(size)),
      used: mapping.view(layout.used, usedBytes(size)),
    }
    this.#region = mapping.view(regionAt, regionBytes)
    this.memory = new CrashMemory([...Object.values(this.#areas), this.#region])
  }

  close(): void {
    this.#mapping.unmap()
  }

  submit(sequence: number): boolean {
    // Every other one takes two descriptors.
    const segments = Array.from({ length: 1 + (sequence & 1) }, () => ({ address: 0, length: 16, writable: true }))
    if (this.#driver.freeDescriptors < segments.length) return false
    this.#sequences.set(this.#driver.add(segments), sequence)
    return true
  }

  show(): void {
    this.#driver.publish()
  }

  reap(): number[] {
    const count = this.#driver.reap(this.#heads)
    return Array.from(this.#heads.subarray(0, count), (head) => {
      this.#driver.release(head)
      return this.#sequences.get(head)!
    })
  }

  boot(): DeviceProcess {
    const inflight = new SplitInflight(this.#region, this.#entries)
    const used = this.#driver.deviceUsedIndex
    const count = inflight.start(used)
    if (count < 0) throw new Error('the region is not usable')
    const queue = new SplitVirtqueue({
      size: this.#size,
      ...this.#areas,
      base: inflight.base,
      eventIdx: this.#eventIdx,
    })
    return {
      recovered: [...inflight.heads.slice(0, count)],
      available: () => {
        const there = queue.available()
        if (there < 0) throw new Error('the device has lost its place in the available ring')
        return there
      },
      fetch: () => {
        const head = queue.fetch()
        inflight.fetch(head)
        return head
      },
      complete: (head) => {
        inflight.complete(head)
        queue.push(head, 16)
      },
      publish: () => {
        inflight.beforePublish()
        queue.publish()
        inflight.afterPublish()
      },
      sequence: (head) => this.#sequences.get(head)!,
    }
  }
}
