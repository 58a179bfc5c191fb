import { featureMask, VHOST_USER_PROTOCOL_F } from './features.js'
import type { MemoryRegion } from './messages/memory.js'

/** The protocol features that a session can carry; a device may offer these and no others. */
export const SESSION_PROTOCOL_FEATURES = featureMask(
  VHOST_USER_PROTOCOL_F.MQ,
  VHOST_USER_PROTOCOL_F.LOG_SHMFD,
  VHOST_USER_PROTOCOL_F.REPLY_ACK,
  VHOST_USER_PROTOCOL_F.BACKEND_REQ,
  VHOST_USER_PROTOCOL_F.CONFIG,
  VHOST_USER_PROTOCOL_F.INFLIGHT_SHMFD,
  VHOST_USER_PROTOCOL_F.RESET_DEVICE,
  VHOST_USER_PROTOCOL_F.CONFIGURE_MEM_SLOTS,
  VHOST_USER_PROTOCOL_F.STATUS,
)

/** All that a ring needs to run. Ring parts are front-end user addresses; descriptors inside are guest physical. */
export interface RingSetup {
  index: number
  /** Entries. A power of two for a split ring. At most 32768. */
  size: number
  /** Split ring: next available index (0..65535). Packed ring: the 32 bits of SET_VRING_BASE, see unpackBase. */
  base: number
  desc: number
  /** The available ring; with RING_PACKED the driver event suppression structure. */
  avail: number
  /** The used ring; with RING_PACKED the device event suppression structure. */
  used: number
  /** Guest address under which writes to the used ring are logged. Means something only if flags has VRING_ADDRESS_F.LOG. */
  logAddress: number
  flags: number
  /** eventfds, non-blocking, -1 when there is none (kick: poll the ring). They belong to the session's Vring. */
  kickFd: number
  callFd: number
  errFd: number
  /** The virtio features in force, without VHOST_USER_F.PROTOCOL_FEATURES. */
  features: bigint
}

/** A part of a file that the front end and the device share. `size` bytes from byte `offset` on; both below 2^53, unaligned perhaps. */
export interface SharedPart {
  fd: number
  size: number
  offset: number
}

/** An inflight buffer (vhost-user.rst "Inflight I/O tracking"): `queues` regions, each for a ring of up to `queueSize` entries. */
export interface InflightBuffer extends SharedPart {
  queues: number
  queueSize: number
}

/** What a device that offers VHOST_USER_PROTOCOL_F.LOG_SHMFD does for a live migration (vhost-user.rst "Migration"). */
export interface DirtyLogCapability {
  /**
   * SET_LOG_BASE: a bitmap of `size` bytes. Resolves when every thread marks there, and none touches the one before. May come
   * again at any time, while rings run as well, also before or after VHOST_F.LOG_ALL: without that feature nothing is marked,
   * and before the first log there is nothing to mark. There is no message that takes a log away: the device keeps the last one
   * until disconnect(). `fd` is closed afterwards. Rejects with a DeviceError when the log cannot be used; then the old one
   * stays.
   */
  setLog(log: SharedPart): Promise<void>
}

/** What a device that offers VHOST_USER_PROTOCOL_F.INFLIGHT_SHMFD does for recovery after a crash. */
export interface InflightCapability {
  /**
   * GET_INFLIGHT_FD: a fresh buffer, for rings whose kind may not be known yet (QEMU 7.2 asks before SET_FEATURES). The session
   * sends the descriptor and closes it. `queues` is 1..ringCount, `queueSize` 1..32768.
   * @throws {DeviceError} when there is none for so many; the front end goes on without a buffer
   */
  create(queues: number, queueSize: number): SharedPart
  /**
   * SET_INFLIGHT_FD: the buffer that rings started from now on use; of a ring that runs, nothing changes. Fresh, or of this
   * device's predecessor. `fd` is closed afterwards. Rejects with a DeviceError when it cannot be used; without an
   * acknowledgement that ends the connection, since rings that ran without it could not be recovered.
   */
  set(buffer: InflightBuffer): Promise<void>
}

/**
 * A device method rejects with this to say: refuse this message. The front end gets a negative acknowledgement if it asked for
 * one; otherwise the connection ends. `code` is stable and of the device's choosing. Nothing may have changed in the device.
 */
export class DeviceError extends Error {
  readonly code: string

  constructor(code: string, message: string) {
    super(message)
    this.name = 'DeviceError'
    this.code = code
  }
}

/**
 * What a BackendSession drives: the virtio device behind one vhost-user connection. The session calls one method at a time and
 * awaits it before it reads the next message, except that several stopRing calls may run at once. Any rejection other than a
 * DeviceError, and any exception, ends the connection.
 */
export interface BackendDevice {
  /** Virtio feature bits offered. The session adds VHOST_USER_F.PROTOCOL_FEATURES. */
  readonly features: bigint
  /** Protocol feature bits offered: a subset of SESSION_PROTOCOL_FEATURES. */
  readonly protocolFeatures: bigint
  /** Rings there are: request queues plus the two fixed ones. At most 256. */
  readonly ringCount: number
  readonly maxMemorySlots: number
  /** Present if and only if protocolFeatures has LOG_SHMFD. */
  readonly dirtyLog?: DirtyLogCapability | undefined
  /** Present if and only if protocolFeatures has INFLIGHT_SHMFD. */
  readonly inflight?: InflightCapability | undefined
  /**
   * What the driver accepted: always a subset of `features`. While a ring is active only VHOST_F.LOG_ALL changes; every thread
   * goes by it when this resolves. The RingSetup of such a ring is not sent again unless its address flags change as well.
   */
  setFeatures(features: bigint): void | Promise<void>
  /** The whole memory table is replaced, also while rings run. fds[i] belongs to regions[i]; they are closed afterwards. */
  setMemory(regions: readonly MemoryRegion[], fds: readonly number[]): Promise<void>
  /** One region more. `fd` is closed afterwards. */
  addMemory(region: MemoryRegion, fd: number): Promise<void>
  /** One region less; `region` as it was added. Resolves when nothing reaches it any more. */
  removeMemory(region: MemoryRegion): Promise<void>
  /** The ring became started and enabled. After a rejection the device holds nothing of the set-up. */
  startRing(setup: RingSetup): Promise<void>
  /**
   * The ring is no longer both started and enabled. Resolves when all its requests are complete and no thread uses its
   * descriptors, with the index to continue from (as RingSetup.base). `discard`: nobody is going to continue from there (a reset,
   * a front end that has gone), so that requests of the control queue which wait for others need not be answered.
   */
  stopRing(index: number, discard: boolean): Promise<number>
  /** The call descriptor of an active ring changes (-1: none). Resolves when no thread uses the old one any more. */
  setCall(index: number, fd: number): void | Promise<void>
  /** The same for the error descriptor. */
  setErr(index: number, fd: number): void | Promise<void>
  /** RESET_DEVICE. All rings are stopped already. May come any number of times, also before any start. */
  reset(): Promise<void>
  /** `size` bytes of config space, or undefined when there is no such thing. */
  readConfig(offset: number, size: number): Uint8Array | undefined
  /** Whether the device takes the bytes. They are not kept by the caller. */
  writeConfig(offset: number, bytes: Uint8Array): boolean
  /** The connection is over. All rings are stopped already: forget the memory. */
  disconnect(): Promise<void>
}
