import {
  createInflightFile,
  DeviceError,
  hasFeature,
  type InflightBuffer,
  type InflightLayout,
  InflightRegion,
  type RingSetup,
  type SharedPart,
  VIRTIO_F,
  VQ,
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

  /** Request rings that the user of the buffer before had, without those started since it was asked for. */
  #awaited = new Set<number>()
  /** The buffer has come since then. */
  #isNew = false

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
    this.#awaited.clear()
  }

  #replace(next: InflightRegion | undefined): void {
    const old = this.#last
    this.#last = next
    this.#isNew = next !== undefined
    this.#release(old)
  }

  /** A ring is about to be started. */
  take(index: number): void {
    if (this.#last !== undefined) this.#users.set(index, this.#last)
  }

  /** A ring has been started. True: it was the last one that `awaits` knew of. */
  started(index: number): boolean {
    return this.#awaited.delete(index) && this.#awaited.size === 0
  }

  /**
   * Whether task management has to wait for request rings that the last user of the buffer had: a function that does not see
   * what it was meant to end would be answered, and after it what it should have ended.
   *
   * @param features in force @param running those that run already
   */
  awaits(features: bigint, running: (index: number) => boolean): boolean {
    if (this.#isNew) {
      const layout = layoutOf(features)
      this.#isNew = false
      this.#awaited = new Set()
      for (let index = VQ.REQUEST; index < this.#ringCount; index++) {
        if (!running(index) && this.#last?.isInUse(layout, index)) this.#awaited.add(index)
      }
    }
    return this.#awaited.size > 0
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

  /** The device was reset: what was in flight is not to be served again. No ring runs. */
  clear(): void {
    this.#last?.clear()
    this.#awaited.clear()
  }
}

/** The part that a ring has makes no sense: there is nothing to go on with. */
export function inflightUnusable(index: number): DeviceError {
  return new DeviceError('VUS_INFLIGHT_UNUSABLE', `ring ${index}: its part of the inflight buffer makes no sense`)
}

function layoutOf(features: bigint): InflightLayout {
  return hasFeature(features, VIRTIO_F.RING_PACKED) ? 'packed' : 'split'
}
