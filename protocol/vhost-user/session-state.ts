import type { BackendChannel } from './backend-channel.js'
import { type BackendDevice, type RingSetup, SESSION_PROTOCOL_FEATURES } from './backend-device.js'
import { RefusedError } from './errors.js'
import { featureMask, hasFeature, protocolFeatureNames, VHOST_USER_F, VHOST_USER_PROTOCOL_F } from './features.js'
import { MemoryTable } from './memory-table.js'
import type { Message } from './message.js'
import type { SessionReporter } from './reporter.js'
import { Vring } from './vring.js'

/** The virtio feature bit that the session itself offers. */
export const PROTOCOL_FEATURES_MASK = featureMask(VHOST_USER_F.PROTOCOL_FEATURES)

/** The control and the event queue come before the request queues (virtio 1.3 5.6.2). */
export const FIXED_QUEUES = 2

/** The message has an index of 8 bits. */
const MAX_RINGS = 256

/** A reply with a descriptor, which is closed when it was sent. */
export interface ReplyWithFd {
  readonly payload: Uint8Array
  readonly fd: number
}

/** The payload of an explicit reply, perhaps with a descriptor; undefined for a request that is merely acknowledged. */
export type HandlerResult = Uint8Array | ReplyWithFd | undefined

/**
 * Carries out one kind of request. Throws a RefusedError or DeviceError to refuse, a ProtocolError to end the connection.
 */
export type RequestHandler = (state: SessionState, message: Message) => HandlerResult | Promise<HandlerResult>

/** What a session knows of its front end. */
export class SessionState {
  readonly device: BackendDevice
  readonly report: SessionReporter
  readonly memory: MemoryTable
  readonly rings: readonly Vring[]
  /** What SET_FEATURES accepted, without PROTOCOL_FEATURES. */
  features = 0n
  protocolFeatures = 0n
  /** The device status register. Only for show: nothing waits for DRIVER_OK, which QEMU does not send for scsi. */
  status = 0
  /** What SET_BACKEND_REQ_FD brought. */
  channel: BackendChannel | undefined

  /** @throws {RangeError} when the device offers what no session can do */
  constructor(device: BackendDevice, report: SessionReporter) {
    if ((device.protocolFeatures & ~SESSION_PROTOCOL_FEATURES) !== 0n) {
      throw new RangeError(`protocol features 0x${device.protocolFeatures.toString(16)} cannot all be served`)
    }
    for (const [bit, capability] of [
      [VHOST_USER_PROTOCOL_F.LOG_SHMFD, device.dirtyLog],
      [VHOST_USER_PROTOCOL_F.INFLIGHT_SHMFD, device.inflight],
    ] as const) {
      if (hasFeature(device.protocolFeatures, bit) !== (capability !== undefined)) {
        const [name] = protocolFeatureNames(featureMask(bit))
        throw new RangeError(`${name} is offered without its capability, or the other way round`)
      }
    }
    if (!(device.ringCount > FIXED_QUEUES && device.ringCount <= MAX_RINGS)) {
      throw new RangeError(`a device with ${device.ringCount} rings`)
    }
    this.device = device
    this.report = report
    this.memory = new MemoryTable(device.maxMemorySlots)
    this.rings = Array.from({ length: device.ringCount }, (_, index) => new Vring(index, this))
  }

  /** @throws {RefusedError} VUS_RING_INDEX */
  ring(index: number): Vring {
    const ring = this.rings[index]
    if (ring === undefined) throw new RefusedError('VUS_RING_INDEX', `ring ${index} of ${this.rings.length}`)
    return ring
  }

  negotiated(protocolFeature: number): boolean {
    return hasFeature(this.protocolFeatures, protocolFeature)
  }

  get anyActive(): boolean {
    return this.rings.some((ring) => ring.active)
  }

  ringStarted(setup: RingSetup): void {
    const { index, size, base } = setup
    this.report.event('debug', 'VUS_RING_STARTED', `ring ${index} runs`, { ring: index, size, base })
  }

  ringStopped(index: number, base: number): void {
    this.report.event('debug', 'VUS_RING_STOPPED', `ring ${index} is stopped`, { ring: index, base })
  }
}

/** Waits for all of them, then fails with the first failure, so that none goes on behind the caller's back. */
export async function allSettled(work: readonly Promise<unknown>[]): Promise<void> {
  for (const result of await Promise.allSettled(work)) if (result.status === 'rejected') throw result.reason
}
