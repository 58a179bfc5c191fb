import { close, createEventfd, signalEventfd, socketPair } from 'memfd-mmap'
import type { InflightBuffer, SharedPart } from './backend-device.js'
import { featureMask, hasFeature, VHOST_F, VHOST_USER_F, VHOST_USER_PROTOCOL_F } from './features.js'
import { FrontEnd } from './front-end.js'
import type { MemoryRegion } from './messages/memory.js'
import { VRING_ADDRESS_F } from './messages/vring.js'
import { FRONT_END_REQUEST } from './requests.js'

/** A ring as its driver has laid it out. Addresses are user addresses. The eventfds stay the caller's. */
export interface FrontEndRing {
  index: number
  size: number
  /** Next available index, 0 for a new ring. */
  base: number
  desc: number
  avail: number
  used: number
  /** -1: the back end is to poll. */
  kickFd: number
  /** -1: the driver polls. */
  callFd: number
}

/** A piece of guest memory and the file that holds it, which stays the caller's. */
export interface FrontEndMemory {
  region: MemoryRegion
  fd: number
}

export interface FrontEndSetup {
  /** All rings of the device: request queues plus two. */
  ringCount: number
  memory: readonly FrontEndMemory[]
  /** Virtio features that the driver wants, as far as they are offered. Default: all that are. */
  features?: bigint
  /** Protocol features wanted, as far as they are offered. Default: those that QEMU takes. */
  protocolFeatures?: bigint
  /** The inflight buffer of an earlier connection (takeInflight), which is taken over. Default: the back end is asked for one. */
  inflight?: InflightBuffer | undefined
  /** Whose habits: QEMU 10.2 has rings' messages acknowledged, 7.2 does not. Default 10.2. */
  style?: 'qemu-7.2' | 'qemu-10.2'
}

const QEMU_PROTOCOL_FEATURES = featureMask(
  VHOST_USER_PROTOCOL_F.MQ,
  VHOST_USER_PROTOCOL_F.LOG_SHMFD,
  VHOST_USER_PROTOCOL_F.REPLY_ACK,
  VHOST_USER_PROTOCOL_F.BACKEND_REQ,
  VHOST_USER_PROTOCOL_F.INFLIGHT_SHMFD,
  VHOST_USER_PROTOCOL_F.RESET_DEVICE,
  VHOST_USER_PROTOCOL_F.CONFIGURE_MEM_SLOTS,
)

const LOG_ALL_MASK = featureMask(VHOST_F.LOG_ALL)

const ACKED_7_2 = new Set<number>([
  FRONT_END_REQUEST.SET_BACKEND_REQ_FD,
  FRONT_END_REQUEST.SET_MEM_TABLE,
  FRONT_END_REQUEST.ADD_MEM_REG,
  FRONT_END_REQUEST.REM_MEM_REG,
  FRONT_END_REQUEST.SET_CONFIG,
])

const ACKED_10_2 = new Set<number>([
  ...ACKED_7_2,
  FRONT_END_REQUEST.SET_VRING_KICK,
  FRONT_END_REQUEST.SET_VRING_CALL,
  FRONT_END_REQUEST.SET_VRING_ERR,
  FRONT_END_REQUEST.SET_VRING_ENABLE,
])

/** Acknowledged as well while logging is being turned on. */
const ACKED_LOGGING = new Set<number>([FRONT_END_REQUEST.SET_FEATURES, FRONT_END_REQUEST.SET_VRING_ADDR])

/** QEMU asks for a buffer for rings of its virtqueue_size; this is the default. */
const INFLIGHT_QUEUE_SIZE = 128

/** Whether logging is being turned on, for who decides what is acknowledged. */
interface LoggingSwitch {
  starts: boolean
}

/**
 * A front end that goes through a device's life in the order of messages that QEMU's vhost-user-scsi was seen to send: connect,
 * start, stop, reset, memory hotplug, dirty logging; with an inflight buffer and a back-end channel where they are offered. Made
 * by connectFrontEnd.
 */
export class FrontEndDriver {
  readonly frontEnd: FrontEnd
  /** What the back end offered, and what of it the driver accepts. LOG_ALL is added while there is a log. */
  readonly offered: bigint
  readonly features: bigint
  /** What GET_QUEUE_NUM and GET_MAX_MEM_SLOTS answered; 0 where they were not asked. */
  readonly queueNum: number
  readonly memorySlots: number
  readonly #ringCount: number
  readonly #twice: boolean
  readonly #errFds: readonly number[]
  #memory: FrontEndMemory[]
  /** With memory slots: the table goes out once per connection, then only its changes. */
  #announced = false
  #running: FrontEndRing[] = []
  #inflight: InflightBuffer | undefined
  /** The buffer was sent, for an earlier start. */
  #inflightSent = false
  #log: SharedPart | undefined
  readonly #logging: LoggingSwitch

  /** @internal */
  constructor(
    frontEnd: FrontEnd,
    setup: FrontEndSetup,
    found: {
      offered: bigint
      queueNum: number
      memorySlots: number
      errFds: readonly number[]
      logging: LoggingSwitch
    },
  ) {
    this.frontEnd = frontEnd
    this.offered = found.offered
    const wanted = (setup.features ?? found.offered) | featureMask(VHOST_USER_F.PROTOCOL_FEATURES)
    this.features = found.offered & wanted & ~LOG_ALL_MASK
    this.queueNum = found.queueNum
    this.memorySlots = found.memorySlots
    this.#ringCount = setup.ringCount
    this.#twice = setup.style !== 'qemu-7.2'
    this.#errFds = found.errFds
    this.#logging = found.logging
    this.#inflight = setup.inflight
    this.#memory = [...setup.memory]
  }

  get #slots(): boolean {
    return hasFeature(this.frontEnd.protocolFeatures, VHOST_USER_PROTOCOL_F.CONFIGURE_MEM_SLOTS)
  }

  /** The error eventfd that ring `index` was given. */
  errFd(index: number): number {
    return this.#errFds[index] ?? -1
  }

  /** The buffer that the next start() sends, where there is one. Its descriptor is the driver's. */
  get inflight(): InflightBuffer | undefined {
    return this.#inflight
  }

  /** Hands the inflight buffer over, for another connection: the caller closes it, or gives it to FrontEndSetup. */
  takeInflight(): InflightBuffer | undefined {
    const inflight = this.#inflight
    this.#inflight = undefined
    return inflight
  }

  /** Size, base, addresses and kick of one ring; the kick is raised once, as QEMU does. */
  async setUpRing(ring: FrontEndRing): Promise<void> {
    const { index } = ring
    await this.frontEnd.setVringNum(index, ring.size)
    await this.frontEnd.setVringBase(index, ring.base)
    await this.#setAddress(ring)
    await this.frontEnd.setVringKick(index, ring.kickFd)
    if (ring.kickFd >= 0) signalEventfd(ring.kickFd)
  }

  /** DRIVER_OK: features, memory, these rings; then all rings, also those that are not set up, are enabled. */
  async start(rings: readonly FrontEndRing[]): Promise<void> {
    if (this.#twice) await this.#setFeatures()
    await this.#announceInflight(Math.max(INFLIGHT_QUEUE_SIZE, ...rings.map(({ size }) => size)))
    await this.#setFeatures()
    await this.#announceMemory()
    this.#running = [...rings]
    for (const ring of rings) await this.setUpRing(ring)
    // During a migration the log follows the kicks, and precedes the moment when rings may run.
    if (this.#log !== undefined) await this.frontEnd.setLogBase(this.#log)
    await this.#enableAll(true)
    const calls = new Map(rings.map((ring) => [ring.index, ring.callFd]))
    for (let index = 0; index < this.#ringCount; index++) {
      await this.frontEnd.setVringCall(index, calls.get(index) ?? -1)
    }
  }

  /** All rings are disabled, those that were started are stopped; where each of them stands. */
  async stop(): Promise<Map<number, number>> {
    await this.#enableAll(false)
    const bases = new Map<number, number>()
    for (const { index } of this.#running) bases.set(index, await this.frontEnd.getVringBase(index))
    this.#running = []
    return bases
  }

  /**
   * A migration begins, or its log is replaced: what the back end writes to guest memory is marked in `log`, whose descriptor stays
   * the caller's, and open until stopLogging(). Rings may run. LOG_SHMFD and LOG_ALL must have been offered. A used ring is logged
   * under its guest address.
   */
  async startLogging(log: SharedPart): Promise<void> {
    const first = this.#log === undefined
    await this.frontEnd.setLogBase(log)
    this.#log = log
    if (!first) return
    this.#logging.starts = true
    try {
      await this.#setFeatures()
      for (const ring of this.#running) await this.#setAddress(ring)
    } finally {
      this.#logging.starts = false
    }
  }

  /** The migration is over, or was cancelled. */
  async stopLogging(): Promise<void> {
    this.#log = undefined
    await this.#setFeatures()
    for (const ring of this.#running) await this.#setAddress(ring)
  }

  /** A guest reset: stop() if rings run, then RESET_DEVICE (when negotiated) as often as asked. */
  async reset(times = 1): Promise<void> {
    if (this.#running.length > 0) await this.stop()
    this.#dropInflight()
    if (!hasFeature(this.frontEnd.protocolFeatures, VHOST_USER_PROTOCOL_F.RESET_DEVICE)) return
    for (let i = 0; i < times; i++) await this.frontEnd.resetDevice()
  }

  /** Memory hotplug, rings running or not. */
  async addMemory(memory: FrontEndMemory): Promise<void> {
    this.#memory.push(memory)
    if (this.#slots) await this.frontEnd.addMemReg(memory.region, memory.fd)
    else await this.#setMemTable()
  }

  /** Memory unplug; `memory` as it was added. */
  async removeMemory(memory: FrontEndMemory): Promise<void> {
    this.#memory = this.#memory.filter((other) => other !== memory)
    if (this.#slots) await this.frontEnd.remMemReg(memory.region)
    else await this.#setMemTable()
  }

  /** Ends the connection. Idempotent. */
  close(): void {
    this.frontEnd.close()
    this.#dropInflight()
  }

  #dropInflight(): void {
    const inflight = this.takeInflight()
    if (inflight !== undefined) close(inflight.fd)
  }

  /** QEMU 7.2 takes a fresh buffer for each start, 10.2 one for the time until a reset. */
  async #announceInflight(queueSize: number): Promise<void> {
    if (!hasFeature(this.frontEnd.protocolFeatures, VHOST_USER_PROTOCOL_F.INFLIGHT_SHMFD)) return
    if (this.#inflight === undefined || (!this.#twice && this.#inflightSent)) {
      this.#dropInflight()
      this.#inflight = await this.frontEnd.getInflightFd(this.#ringCount, queueSize)
    }
    if (this.#inflight === undefined) return
    await this.frontEnd.setInflightFd(this.#inflight)
    this.#inflightSent = true
  }

  #setFeatures(): Promise<void> {
    return this.frontEnd.setFeatures(this.#log === undefined ? this.features : this.features | LOG_ALL_MASK)
  }

  #setAddress({ index, desc, avail, used }: FrontEndRing): Promise<void> {
    const logged = this.#log !== undefined
    const flags = logged ? VRING_ADDRESS_F.LOG : 0
    return this.frontEnd.setVringAddr({ index, flags, desc, avail, used, log: logged ? this.#guestAddress(used) : 0 })
  }

  #guestAddress(user: number): number {
    const memory = this.#memory.find(
      ({ region: { userAddress, size } }) => user >= userAddress && user < userAddress + size,
    )
    return memory === undefined ? 0 : memory.region.guestAddress + user - memory.region.userAddress
  }

  async #announceMemory(): Promise<void> {
    if (!this.#slots) {
      await this.#setMemTable()
      return
    }
    if (this.#announced) return
    this.#announced = true
    for (const { region, fd } of this.#memory) await this.frontEnd.addMemReg(region, fd)
  }

  #setMemTable(): Promise<void> {
    return this.frontEnd.setMemTable(
      this.#memory.map(({ region }) => region),
      this.#memory.map(({ fd }) => fd),
    )
  }

  async #enableAll(enabled: boolean): Promise<void> {
    for (let index = 0; index < this.#ringCount; index++) await this.frontEnd.setVringEnable(index, enabled)
  }
}

/**
 * Connects as QEMU does: features and protocol features, queue and slot numbers, ownership, a call eventfd that nobody watches
 * and an error eventfd for each ring, a device reset. Memory and rings follow with start().
 * @param socket the path of the back end's socket, or a connected descriptor, which is taken over
 * @throws {SystemError} when there is nobody to connect to
 * @throws {ProtocolError | NackError} when the back end refuses
 */
export async function connectFrontEnd(socket: string | number, setup: FrontEndSetup): Promise<FrontEndDriver> {
  const acked = setup.style === 'qemu-7.2' ? ACKED_7_2 : ACKED_10_2
  const logging: LoggingSwitch = { starts: false }
  const options = {
    needReply: (request: number) => acked.has(request) || (logging.starts && ACKED_LOGGING.has(request)),
  }
  const frontEnd = typeof socket === 'number' ? new FrontEnd(socket, options) : FrontEnd.connect(socket, options)
  const errFds = Array.from({ length: setup.ringCount }, () => createEventfd())
  frontEnd.closed.then(() => {
    for (const fd of errFds) close(fd)
  })
  try {
    const found = await negotiate(frontEnd, setup)
    if (hasFeature(frontEnd.protocolFeatures, VHOST_USER_PROTOCOL_F.BACKEND_REQ)) await sendChannel(frontEnd)
    await frontEnd.setOwner()
    const offered = await frontEnd.getFeatures()
    for (let index = 0; index < setup.ringCount; index++) await sendEventfds(frontEnd, index, errFds[index]!)
    const driver = new FrontEndDriver(frontEnd, setup, { ...found, offered, errFds, logging })
    if (hasFeature(frontEnd.protocolFeatures, VHOST_USER_PROTOCOL_F.RESET_DEVICE) && setup.inflight === undefined) {
      await frontEnd.resetDevice()
    }
    return driver
  } catch (error) {
    frontEnd.close()
    if (setup.inflight !== undefined) close(setup.inflight.fd)
    throw error
  }
}

async function negotiate(frontEnd: FrontEnd, setup: FrontEndSetup): Promise<{ queueNum: number; memorySlots: number }> {
  if (!hasFeature(await frontEnd.getFeatures(), VHOST_USER_F.PROTOCOL_FEATURES)) return { queueNum: 0, memorySlots: 0 }
  const features = (await frontEnd.getProtocolFeatures()) & (setup.protocolFeatures ?? QEMU_PROTOCOL_FEATURES)
  await frontEnd.setProtocolFeatures(features)
  const queueNum = hasFeature(features, VHOST_USER_PROTOCOL_F.MQ) ? await frontEnd.getQueueNum() : 0
  const slots = hasFeature(features, VHOST_USER_PROTOCOL_F.CONFIGURE_MEM_SLOTS)
  return { queueNum, memorySlots: slots ? await frontEnd.getMaxMemSlots() : 0 }
}

/** The back end's requests would come on our end, which nobody reads: this front end is asked for nothing. */
async function sendChannel(frontEnd: FrontEnd): Promise<void> {
  const [ours, theirs] = socketPair()
  frontEnd.closed.then(() => close(ours))
  try {
    await frontEnd.setBackendReqFd(theirs)
  } finally {
    close(theirs)
  }
}

async function sendEventfds(frontEnd: FrontEnd, index: number, errFd: number): Promise<void> {
  const masked = createEventfd()
  try {
    await frontEnd.setVringCall(index, masked)
  } finally {
    close(masked)
  }
  await frontEnd.setVringErr(index, errFd)
}
