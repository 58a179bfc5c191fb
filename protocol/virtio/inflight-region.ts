import { createMemfd, F_SEAL_GROW, F_SEAL_SEAL, F_SEAL_SHRINK, viewMemory } from 'memfd-mmap'
import { DeviceError } from '../vhost-user/backend-device.js'
import type { InflightDescription } from '../vhost-user/messages/migration.js'
import { INFLIGHT_SIZE_MAX, type InflightLayout, inflightStride, SPLIT_REGION } from './inflight-layout.js'
import { MappedArea, type SharedArea } from './shared-area.js'

/** The same for both layouts. */
const { VERSION } = SPLIT_REGION

function check(numQueues: number, queueSize: number, maxQueues: number): void {
  if (numQueues === 0 || numQueues > maxQueues || queueSize === 0 || queueSize > INFLIGHT_SIZE_MAX) {
    throw new DeviceError('VUS_INFLIGHT_SIZE', `an inflight buffer for ${numQueues} queues of ${queueSize} descriptors`)
  }
}

/** An inflight buffer to hand to the front end, which keeps it. */
export interface InflightFile {
  /** A sealed memfd, all zeros. The caller's: to be closed when it was sent. */
  readonly fd: number
  readonly description: InflightDescription
}

/**
 * Makes what GET_INFLIGHT_FD answers with. Large enough for either layout: QEMU 7.2 asks before it says which rings it
 * will use. Pages are taken when they are used, so what the front end claims costs nothing.
 *
 * @param maxQueues queues that the device has
 * @throws {DeviceError} VUS_INFLIGHT_SIZE @throws {SystemError}
 */
export function createInflightFile(numQueues: number, queueSize: number, maxQueues: number): InflightFile {
  check(numQueues, queueSize, maxQueues)
  const mmapSize = numQueues * Math.max(inflightStride('split', queueSize), inflightStride('packed', queueSize))
  const fd = createMemfd('vhost-inflight', mmapSize, F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL)
  return { fd, description: { mmapSize, mmapOffset: 0, numQueues, queueSize } }
}

/** The inflight buffer that came with SET_INFLIGHT_FD, of this process or its predecessor. Mapped by the main thread. */
export class InflightRegion {
  readonly numQueues: number
  /** Entries that each queue's region has. */
  readonly queueSize: number
  readonly #area: MappedArea

  /**
   * @param fd not kept @param maxQueues queues that the device has
   * @throws {DeviceError} VUS_INFLIGHT_SIZE, VUS_AREA_RANGE, VUS_AREA_FILE_SIZE, VUS_AREA_MAP
   */
  constructor(fd: number, description: InflightDescription, maxQueues: number) {
    const { mmapSize, mmapOffset, numQueues, queueSize } = description
    check(numQueues, queueSize, maxQueues)
    // The smaller layout: which one it is may not be known yet.
    if (mmapSize < numQueues * inflightStride('split', queueSize)) {
      const detail = `an inflight buffer of ${mmapSize} bytes for ${numQueues} queues of ${queueSize} descriptors`
      throw new DeviceError('VUS_INFLIGHT_SIZE', detail)
    }
    this.numQueues = numQueues
    this.queueSize = queueSize
    this.#area = new MappedArea(fd, mmapOffset, mmapSize, 'an inflight buffer')
  }

  /**
   * The region of queue `index`, for viewMemory in the thread that serves it; undefined where the buffer has none for
   * such a ring: then nothing of it survives.
   *
   * @param size descriptors in the ring, at most queueSize
   */
  queue(layout: InflightLayout, index: number, size: number): SharedArea | undefined {
    const stride = inflightStride(layout, this.queueSize)
    if (index >= this.numQueues || size > this.queueSize || stride * (index + 1) > this.#area.length) return undefined
    return { address: this.#area.address + stride * index, length: stride }
  }

  /** Whether somebody has noted anything for queue `index` since the buffer was made, or cleared. */
  isInUse(layout: InflightLayout, index: number): boolean {
    const area = this.queue(layout, index, 1)
    return area !== undefined && new DataView(viewMemory(area.address, area.length)).getUint16(VERSION) !== 0
  }

  /** Makes every region a fresh one, for rings that begin anew (RESET_DEVICE). No queue is running. */
  clear(): void {
    const { address, length } = this.#area
    const view = new DataView(viewMemory(address, length))
    // Whatever the layout is. Only what says that a region is in use: the pages of the rest may never have been touched.
    for (const layout of ['split', 'packed'] as const) {
      const stride = inflightStride(layout, this.queueSize)
      for (let at = 0; at + stride <= length && at < stride * this.numQueues; at += stride) {
        view.setUint16(at + VERSION, 0)
      }
    }
  }

  /** No thread has a view of it. */
  unmap(): void {
    this.#area.unmap()
  }
}
