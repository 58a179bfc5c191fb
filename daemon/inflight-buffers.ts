import {
  createInflightFile,
  hasFeature,
  type InflightBuffer,
  type InflightLayout,
  InflightRegion,
  type RingSetup,
  type SharedPart,
  VIRTIO_F,
} from 'vhost-user-protocol-ts'
import type { InflightArea } from '../iothreads/index.js'

type RingKind = Pick<RingSetup, 'index' | 'size' | 'features'>

/**
 * The inflight buffer of a controller (vhost-user.rst "Inflight I/O tracking"), which its front end keeps for the case that this
 * process is killed. A ring has its part of the buffer that was the last one when it was started, as long as it runs.
 */
export class InflightBuffers {
  readonly #ringCount: number
  #last: InflightRegion | undefined
  /** What rings that run have, by virtqueue index. */
  readonly #users = new Map<number, InflightRegion>()

  constructor(ringCount: number) {
    this.#ringCount = ringCount
  }

  /** A fresh buffer; its descriptor is the caller's. @throws DeviceError VUS_INFLIGHT_SIZE */
  create(queues: number, queueSize: number): SharedPart {
    const { fd, description } = createInflightFile(queues, queueSize, this.#ringCount)
    return { fd, size: description.mmapSize, offset: description.mmapOffset }
  }

  /** Has rings that start from now on use `buffer`. @throws DeviceError see InflightRegion */
  set({ fd, size, offset, queues, queueSize }: InflightBuffer): void {
    const description = { mmapSize: size, mmapOffset: offset, numQueues: queues, queueSize }
    this.#replace(new InflightRegion(fd, description, this.#ringCount))
  }

  /** The connection is over. No ring runs. */
  forget(): void {
    this.#replace(undefined)
  }

  #replace(next: InflightRegion | undefined): void {
    const old = this.#last
    this.#last = next
    this.#release(old)
  }

  /** A ring is about to be started. */
  take(index: number): void {
    if (this.#last !== undefined) this.#users.set(index, this.#last)
  }

  /** A ring has been stopped: nobody has a view of its part. */
  give(index: number): void {
    const region = this.#users.get(index)
    this.#users.delete(index)
    this.#release(region)
  }

  #release(region: InflightRegion | undefined): void {
    if (region === undefined || region === this.#last || [...this.#users.values()].includes(region)) return
    region.unmap()
  }

  /** The part of a ring that was taken; undefined: it has none. Plain data. */
  area({ index, size, features }: RingKind): InflightArea | undefined {
    const region = this.#users.get(index)
    const area = region?.queue(layoutOf(features), index, size)
    return area && { ...area, entries: region!.queueSize }
  }

  /** The rings from `first` on whose part was in use when the last buffer came: those that its user before had started. */
  inUse(first: number, features: bigint): number[] {
    const indexes = Array.from({ length: Math.max(0, this.#ringCount - first) }, (_, i) => first + i)
    return indexes.filter((index) => this.#last?.isInUse(layoutOf(features), index))
  }

  /** The device was reset: what was in flight is not to be served again. No ring runs. */
  clear(): void {
    this.#last?.clear()
  }
}

function layoutOf(features: bigint): InflightLayout {
  return hasFeature(features, VIRTIO_F.RING_PACKED) ? 'packed' : 'split'
}
