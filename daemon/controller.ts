/** One vhost-user-scsi controller: the device behind a socket. Rings 0 and 1 run here on the main loop, the others on IOThreads. */
import {
  type BackendDevice,
  DeviceError,
  EVENT_RESET_REASON,
  EVENT_TYPE,
  featureMask,
  hasFeature,
  type InflightBuffer,
  type MappedArea,
  type MemoryRegion,
  type RingSetup,
  type SharedPart,
  VHOST_F,
  VHOST_USER_PROTOCOL_F,
  VIRTIO_F,
  VIRTIO_SCSI_F,
  VQ,
} from 'vhost-user-protocol-ts'
import { type HostRing, type IoThread, QueueStatistics } from '../iothreads/index.js'
import { allowRemoval, inventoryChanged } from '../scsi/index.js'
import { ConfigSpace } from './config-space.js'
import { ControlRing } from './control-ring.js'
import { ControllerLuns } from './controller-luns.js'
import type { ControllerConfig, LunPlace } from './daemon-config.js'
import { EventRing } from './event-ring.js'
import { GuestMemoryTable, type MemoryEntry } from './guest-memory-table.js'
import { hostRing } from './host-ring.js'
import { InflightBuffers } from './inflight-buffers.js'
import type { Log } from './log.js'
import type { Lun, LunNexus } from './lun.js'
import { LunError } from './lun-error.js'
import type { QueueSource } from './metrics.js'
import { MigrationLog } from './migration-log.js'
import { QueuePlacement } from './queue-placement.js'
import { RequestRing } from './request-ring.js'
import type { RingServer } from './ring.js'
import { RingSet } from './ring-set.js'
import { Serial } from './serial.js'
import { targetPort } from './target-ports.js'
import { manageTask } from './task-manager.js'

const FEATURES = featureMask(
  VIRTIO_SCSI_F.HOTPLUG,
  VIRTIO_SCSI_F.CHANGE,
  VIRTIO_F.ANY_LAYOUT,
  VIRTIO_F.INDIRECT_DESC,
  VIRTIO_F.EVENT_IDX,
  VIRTIO_F.VERSION_1,
  VIRTIO_F.RING_PACKED,
  VHOST_F.LOG_ALL,
)

const PROTOCOL_FEATURES = featureMask(
  VHOST_USER_PROTOCOL_F.MQ,
  VHOST_USER_PROTOCOL_F.LOG_SHMFD,
  VHOST_USER_PROTOCOL_F.REPLY_ACK,
  VHOST_USER_PROTOCOL_F.BACKEND_REQ,
  VHOST_USER_PROTOCOL_F.INFLIGHT_SHMFD,
  VHOST_USER_PROTOCOL_F.RESET_DEVICE,
  VHOST_USER_PROTOCOL_F.CONFIGURE_MEM_SLOTS,
)

/** A request queue as it is now. */
export interface ControllerQueue {
  /** 0-based. */
  readonly queue: number
  readonly iothread: IoThread
  /** Descriptors of its ring; undefined: the front end has not started it. */
  readonly size: number | undefined
  /** How often it was given to another IOThread. */
  readonly moves: number
  /** undefined: it was never started. */
  readonly statistics: QueueStatistics | undefined
}

/** As many as libvhost-user has; QEMU takes no more than 512. */
const MEMORY_SLOTS = 509

export interface ControllerEvents {
  /** A ring of the main loop is broken. */
  fault(index: number, code: string): void
  /** An error of ours that leaves the controller in doubt. */
  failed(error: unknown): void
}

export class Controller implements BackendDevice {
  readonly id: string
  readonly features = FEATURES
  readonly protocolFeatures: bigint
  readonly ringCount: number
  readonly maxMemorySlots = MEMORY_SLOTS
  readonly inflight = {
    create: (queues: number, queueSize: number) => this.#inflight.create(queues, queueSize),
    set: async (buffer: InflightBuffer) => this.#inflight.set(buffer),
  }
  readonly dirtyLog = { setLog: (log: SharedPart) => this.#setLog(log) }
  readonly #configSpace: ConfigSpace
  readonly #placement: QueuePlacement
  readonly #luns: ControllerLuns
  readonly #memory: GuestMemoryTable
  readonly #migrationLog = new MigrationLog()
  readonly #inflight: InflightBuffers
  readonly #rings = new RingSet((setup) => this.#locate(setup))
  /** Changes of what all rings rely on: memory, LUNs, the IOThreads that know the controller; and new rings. One after another. */
  readonly #changes = new Serial()
  /** Counters of the request queues that were ever started. */
  readonly #statistics = new Map<number, QueueStatistics>()
  readonly #log: Log
  readonly #controlRing: ControlRing
  readonly #eventRing: EventRing
  /** That the driver has accepted. */
  #driverFeatures = 0n
  #detached = false
  #leaving = false

  /** @param iothreads of each request queue @param luns in the order of the configuration */
  constructor(
    config: ControllerConfig,
    iothreads: readonly IoThread[],
    luns: readonly Lun[],
    log: Log,
    events: ControllerEvents,
  ) {
    this.id = config.id
    this.#placement = new QueuePlacement(config.id, iothreads)
    this.#log = log
    this.#memory = new GuestMemoryTable(true)
    this.#configSpace = new ConfigSpace(config.numQueues)
    this.ringCount = config.numQueues + VQ.REQUEST
    this.#inflight = new InflightBuffers(this.ringCount)
    this.protocolFeatures = PROTOCOL_FEATURES | (config.configSpace ? featureMask(VHOST_USER_PROTOCOL_F.CONFIG) : 0n)
    this.#luns = new ControllerLuns(
      config.id,
      config.port ?? targetPort(config.id),
      this.#placement,
      (at, type, reason) => {
        // Not between the pause and the resume of the event ring: that is none of the driver's business.
        void this.#changes.run(async () => this.#announce(at, type, reason))
      },
    )
    config.luns.forEach((place, i) => {
      this.#luns.add(luns[i]!, place)
    })
    const memory = () => this.#memory.memory
    this.#controlRing = new ControlRing(
      memory,
      (request) => manageTask(this.#luns.nexuses, request),
      (code) => events.fault(VQ.CONTROL, code),
      (error) => events.failed(error),
    )
    this.#eventRing = new EventRing(memory, (code) => events.fault(VQ.EVENT, code))
  }

  /** Makes the controller known to its IOThreads. */
  async attach(): Promise<void> {
    await this.#placement.attach(this.#luns.units())
  }

  /** Takes the controller away from its IOThreads. It is disconnected. */
  async detach(): Promise<void> {
    await this.#changes.run(async () => {
      this.#detached = true
      this.#luns.clear()
      await this.#placement.detach()
    })
  }

  /** Its LUNs and their addresses. */
  get luns(): readonly LunPlace[] {
    return this.#luns.places
  }

  /** The LUN at an address. */
  nexusAt(target: number, lun: number): LunNexus | undefined {
    return this.#luns.nexuses.find((nexus) => nexus.target === target && nexus.lun === lun)
  }

  /** The id of a LUN by its place in the statistics. */
  lunAt(place: number): string | undefined {
    return this.#luns.known[place]
  }

  /**
   * Adds a LUN while the guest runs, and tells it: by an event where its driver takes part in those, by unit attentions
   * of the target's other LUNs. All rings stand still for a moment.
   *
   * @throws LunError EEXIST, EBUSY (see ControllerLuns.add), ESHUTDOWN: the controller is gone
   * @throws DeviceError VUS_IMAGE_LOCKED
   */
  attachLun(lun: Lun, place: LunPlace): Promise<void> {
    return this.#changes.run(async () => {
      if (this.#detached) throw new LunError('ESHUTDOWN', `controller "${this.id}" is gone`)
      this.#luns.add(lun, place)
      try {
        await this.#changeUnits()
      } catch (error) {
        this.#luns.remove(place.id)
        throw error
      }
      this.#inventoryChanged(place, EVENT_RESET_REASON.RESCAN)
    })
  }

  /**
   * Takes a LUN away while the guest runs, and tells it. What is in flight ends first.
   *
   * @throws LunError ENOENT: it has no such LUN
   */
  detachLun(id: string): Promise<void> {
    return this.#changes.run(async () => {
      const place = this.#luns.place(id)
      await this.#changeUnits(id)
      this.#luns.remove(id)
      this.#inventoryChanged(place, EVENT_RESET_REASON.REMOVED)
    })
  }

  /** Has the IOThreads serve the LUNs as they are now, but for the one whose id is `without`. */
  async #changeUnits(without?: string): Promise<void> {
    await this.#rings.atRest(async () => {
      for (const statistics of this.#statistics.values()) statistics.grow(this.#luns.known.length)
      await this.#placement.setUnits(this.#luns.units(without))
    })
  }

  /** The LUN inventory of a target has changed (SPC-4 6.33): the LUN at `place` has come or gone. */
  #inventoryChanged({ id, target, lun }: LunPlace, reason: number): void {
    inventoryChanged(this.#luns.nexuses.filter((nexus) => nexus.target === target && nexus.lun !== lun))
    this.#announce({ target, lun }, EVENT_TYPE.TRANSPORT_RESET, reason)
    const what = reason === EVENT_RESET_REASON.RESCAN ? 'attached at' : 'detached from'
    this.#log.info({ lun: id, target }, `LUN "${id}" ${what} target ${target} lun ${lun}`)
  }

  /** Tells the driver of an event, if it takes part in events of this type (virtio 1.3 5.6.3). */
  #announce({ target, lun }: Pick<LunPlace, 'target' | 'lun'>, type: number, reason: number): void {
    const feature = type === EVENT_TYPE.PARAM_CHANGE ? VIRTIO_SCSI_F.CHANGE : VIRTIO_SCSI_F.HOTPLUG
    if (hasFeature(this.#driverFeatures, feature)) this.#eventRing.send(type, target, lun, reason)
  }

  /** Request queues offered. */
  get queueCount(): number {
    return this.#placement.size
  }

  /** Request queue number `queue`, below `queueCount`. */
  queue(queue: number): ControllerQueue {
    const index = queue + VQ.REQUEST
    return {
      queue,
      iothread: this.#placement.of(queue),
      size: this.#rings.get(index)?.setup.size,
      moves: this.#placement.moves(queue),
      statistics: this.#statistics.get(index),
    }
  }

  /** The request queues that were ever started, for the metrics. */
  *queues(): Iterable<QueueSource> {
    const luns = this.#luns.known
    for (const [index, statistics] of this.#statistics) {
      const queue = index - VQ.REQUEST
      const { id: iothread, tid } = this.#placement.of(queue)
      yield { controller: this.id, queue, iothread, tid, luns, statistics }
    }
  }

  /** With LOG_ALL accepted or taken back, rings that run pause, and go on as it says. */
  async setFeatures(features: bigint): Promise<void> {
    this.#driverFeatures = features
    this.#log.debug({ features: `0x${features.toString(16)}` }, 'the driver has accepted its features')
    const enabled = hasFeature(features, VHOST_F.LOG_ALL)
    if (enabled === this.#migrationLog.enabled) return
    await this.#changes.run(() =>
      this.#rings.atRest(async () => {
        this.#migrationLog.enabled = enabled
      }),
    )
  }

  /** Replaces the dirty log, also while rings run: they pause, and what they write afterwards is logged in the new one. */
  async #setLog(log: SharedPart): Promise<void> {
    this.#warnOfShrinking(log.fd, 'the dirty log')
    const area = MigrationLog.map(log)
    await this.#changes.run(async () => {
      let unused: MappedArea | undefined = area
      try {
        await this.#rings.atRest(async () => {
          unused = this.#migrationLog.replace(area)
        })
      } finally {
        unused?.unmap()
      }
    })
  }

  #locate(setup: RingSetup): HostRing {
    const ring = hostRing(setup, this.#memory.memory, this.#migrationLog.area)
    const inflight = this.#inflight.area(setup)
    return inflight === undefined ? ring : { ...ring, inflight }
  }

  async setMemory(regions: readonly MemoryRegion[], fds: readonly number[]): Promise<void> {
    const entries: MemoryEntry[] = []
    try {
      regions.forEach((region, i) => {
        this.#warnOfShrinking(fds[i]!, 'guest memory')
        entries.push(this.#memory.map(region, fds[i]!))
      })
    } catch (error) {
      this.#memory.discard(entries)
      throw error
    }
    await this.#changeMemory(entries)
  }

  async addMemory(region: MemoryRegion, fd: number): Promise<void> {
    this.#warnOfShrinking(fd, 'guest memory')
    await this.#changeMemory(this.#memory.with(this.#memory.map(region, fd)))
  }

  async removeMemory(region: MemoryRegion): Promise<void> {
    const entry = this.#memory.find(region)
    if (entry !== undefined) await this.#changeMemory(this.#memory.without(entry))
  }

  #warnOfShrinking(fd: number, what: string): void {
    if (GuestMemoryTable.canShrink(fd))
      this.#log.debug(`${what} is not sealed against shrinking: a front end that truncates it would kill this process`)
  }

  /**
   * Replaces the memory table, also while rings run: they pause, with nothing in flight, and go on where they were.
   *
   * @throws DeviceError where a running ring would be left outside of memory; then nothing has changed
   */
  #changeMemory(entries: readonly MemoryEntry[]): Promise<void> {
    return this.#changes.run(async () => {
      const memory = GuestMemoryTable.memoryOf(entries)
      try {
        for (const setup of this.#rings.setups) hostRing(setup, memory)
      } catch (error) {
        this.#memory.discard(entries)
        throw error
      }
      await this.#rings.atRest(async () => {
        const gone = this.#memory.replace(entries, memory)
        await this.#placement.setMemory(this.#memory.regions)
        GuestMemoryTable.unmap(gone)
      })
    })
  }

  /**
   * Gives a request queue to another IOThread, also while it runs: it pauses, with nothing in flight, and goes on there.
   * Resolves with the length of the pause, ns: 0 if the queue is not running.
   */
  moveQueue(queue: number, to: IoThread): Promise<number> {
    return this.#changes.run(() => this.#placement.move(queue, to, () => this.#rings.get(queue + VQ.REQUEST)))
  }

  startRing(setup: RingSetup): Promise<void> {
    return this.#changes.run(async () => {
      const { index } = setup
      const isFirst = index >= VQ.REQUEST && this.#rings.requestQueues === 0
      if (isFirst) await this.#luns.lock()
      this.#inflight.take(index)
      if (index === VQ.CONTROL) {
        const running = (other: number): boolean => this.#rings.get(other) !== undefined
        this.#controlRing.hold(this.#inflight.awaits(setup.features, running))
      }
      try {
        await this.#rings.start(setup, this.#serverOf(index))
      } catch (error) {
        this.#inflight.give(index)
        if (isFirst) this.#luns.unlock()
        throw error
      }
      if (this.#inflight.started(index)) this.#controlRing.hold(false)
    })
  }

  #serverOf(index: number): RingServer {
    if (index === VQ.CONTROL) return this.#controlRing
    if (index === VQ.EVENT) return this.#eventRing
    const queue = index - VQ.REQUEST
    if (queue >= this.#placement.size) throw new DeviceError('VUS_RING_INDEX', `ring ${index} has no IOThread`)
    return new RequestRing(this.id, index, this.#statisticsOf(index), () => this.#placement.of(queue))
  }

  async stopRing(index: number, discard: boolean): Promise<number> {
    if (discard && index === VQ.CONTROL) this.#controlRing.discard()
    const base = await this.#rings.stop(index)
    this.#inflight.give(index)
    if (index >= VQ.REQUEST && this.#rings.requestQueues === 0) this.#luns.unlock()
    return base
  }

  #statisticsOf(index: number): QueueStatistics {
    let statistics = this.#statistics.get(index)
    if (statistics === undefined) {
      statistics = new QueueStatistics(this.#luns.known.length)
      this.#statistics.set(index, statistics)
    }
    return statistics
  }

  setCall(index: number, fd: number): Promise<void> {
    return this.#rings.get(index)!.setCall(fd)
  }

  setErr(index: number, fd: number): Promise<void> {
    return this.#rings.get(index)!.setErr(fd)
  }

  /** A virtio reset is a power-on for the initiator (SAM-5 6.3.1). */
  async reset(): Promise<void> {
    this.#eventRing.reset()
    this.#inflight.clear()
    await Promise.all(this.#luns.nexuses.map((nexus) => nexus.begin()))
  }

  readConfig(offset: number, size: number): Uint8Array | undefined {
    return this.#configSpace.read(offset, size)
  }

  writeConfig(offset: number, bytes: Uint8Array): boolean {
    return this.#configSpace.accepts(offset, bytes)
  }

  /** The daemon ends: what its front end has is not lost by that. */
  leave(): void {
    this.#leaving = true
  }

  async disconnect(): Promise<void> {
    if (!this.#leaving) await Promise.all(this.#luns.nexuses.map((nexus) => nexus.unit.lose(nexus)))
    this.#driverFeatures = 0n
    this.#eventRing.reset()
    allowRemoval(this.#luns.nexuses)
    await this.#changeMemory([])
    this.#inflight.forget()
    this.#migrationLog.enabled = false
    this.#migrationLog.replace(undefined)?.unmap()
  }
}
