/** One vhost-user-scsi controller: the device behind a socket. Rings 0 and 1 run here on the main loop, the others on IOThreads. */
import {
  type BackendDevice,
  DeviceError,
  featureMask,
  type MemoryRegion,
  type RingSetup,
  VHOST_USER_PROTOCOL_F,
  VIRTIO_F,
  VIRTIO_SCSI_F,
  VQ,
} from 'vhost-user-protocol-ts'
import { type HostRing, type IoThread, QueueStatistics } from '../iothreads/index.js'
import { ATTENTION, raiseAttention } from '../scsi/index.js'
import { ConfigSpace } from './config-space.js'
import { ControlQueue } from './control-queue.js'
import type { ControllerConfig } from './daemon-config.js'
import { EventQueue } from './event-queue.js'
import { GuestMemoryTable, type MemoryEntry } from './guest-memory-table.js'
import { hostRing } from './host-ring.js'
import type { ImageLock } from './image-lock.js'
import type { Log } from './log.js'
import type { Lun } from './lun.js'
import type { QueueSource } from './metrics.js'
import { type ManagedNexus, manageTask } from './task-manager.js'

const FEATURES = featureMask(
  VIRTIO_SCSI_F.HOTPLUG,
  VIRTIO_SCSI_F.CHANGE,
  VIRTIO_F.ANY_LAYOUT,
  VIRTIO_F.INDIRECT_DESC,
  VIRTIO_F.EVENT_IDX,
  VIRTIO_F.VERSION_1,
)

const PROTOCOL_FEATURES = featureMask(
  VHOST_USER_PROTOCOL_F.MQ,
  VHOST_USER_PROTOCOL_F.REPLY_ACK,
  VHOST_USER_PROTOCOL_F.RESET_DEVICE,
  VHOST_USER_PROTOCOL_F.CONFIGURE_MEM_SLOTS,
)

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
  readonly #config: ControllerConfig
  readonly #configSpace: ConfigSpace
  /** IOThread of each request queue. */
  readonly #iothreads: readonly IoThread[]
  /** The same, each once. */
  readonly #distinct: readonly IoThread[]
  readonly #luns: readonly Lun[]
  readonly #nexuses: readonly ManagedNexus[]
  readonly #memory: GuestMemoryTable
  readonly #active = new Map<number, RingSetup>()
  /** Rings that a change of the memory table stopped: empty, unless one could not be started again. */
  readonly #paused = new Map<number, RingSetup>()
  /** Counters of the request queues that were ever started. */
  readonly #statistics = new Map<number, QueueStatistics>()
  readonly #log: Log
  readonly #events: ControllerEvents
  #control: ControlQueue | undefined
  #event: EventQueue | undefined
  /** Outlives the event ring, until the device is reset. */
  #missedEvents = false

  /** @param iothreads of each request queue @param luns in the order of the configuration */
  constructor(
    config: ControllerConfig,
    iothreads: readonly IoThread[],
    luns: readonly Lun[],
    log: Log,
    events: ControllerEvents,
  ) {
    this.id = config.id
    this.#config = config
    this.#iothreads = iothreads
    this.#distinct = [...new Set(iothreads)]
    this.#luns = luns
    this.#log = log
    this.#events = events
    this.#memory = new GuestMemoryTable(true)
    this.#configSpace = new ConfigSpace(config.numQueues)
    this.ringCount = config.numQueues + VQ.REQUEST
    this.protocolFeatures = PROTOCOL_FEATURES | (config.configSpace ? featureMask(VHOST_USER_PROTOCOL_F.CONFIG) : 0n)
    this.#nexuses = config.luns.map(({ target, lun }, place) => {
      const attention = new Int32Array(new SharedArrayBuffer(4))
      raiseAttention(attention, ATTENTION.POWER_ON)
      return { controller: this.id, iothreads: this.#distinct, target, lun, attention, unit: luns[place]! }
    })
  }

  /** Makes the controller known to its IOThreads. */
  async attach(): Promise<void> {
    const units = this.#config.luns.map(({ target, lun, readOnly }, place) => {
      const { unit, state, medium } = this.#luns[place]!
      const attention = this.#nexuses[place]!.attention.buffer as SharedArrayBuffer
      return { target, lun, readOnly, config: unit, state: state.memory, attention, medium }
    })
    await this.#tellAll({ type: 'attachController', controller: this.id, units })
    this.#nexuses.forEach((nexus, place) => {
      this.#luns[place]!.nexuses.add(nexus)
    })
  }

  /** Takes the controller away from its IOThreads. It is disconnected. */
  async detach(): Promise<void> {
    this.#nexuses.forEach((nexus, place) => {
      this.#luns[place]!.nexuses.delete(nexus)
    })
    await this.#tellAll({ type: 'detachController', controller: this.id })
  }

  async #tellAll(command: Parameters<IoThread['send']>[0]): Promise<void> {
    await Promise.all(this.#distinct.map((iothread) => iothread.send(command)))
  }

  /** The request queues that were ever started, for the metrics. */
  *queues(): Iterable<QueueSource> {
    const luns = this.#config.luns.map(({ id }) => id)
    for (const [index, statistics] of this.#statistics) {
      const queue = index - VQ.REQUEST
      const { id: iothread, tid } = this.#iothreads[queue]!
      yield { controller: this.id, queue, iothread, tid, luns, statistics }
    }
  }

  setFeatures(features: bigint): void {
    this.#log.debug({ features: `0x${features.toString(16)}` }, 'the driver has accepted its features')
  }

  async setMemory(regions: readonly MemoryRegion[], fds: readonly number[]): Promise<void> {
    const entries: MemoryEntry[] = []
    try {
      regions.forEach((region, i) => {
        this.#warnOfShrinking(fds[i]!)
        entries.push(this.#memory.map(region, fds[i]!))
      })
    } catch (error) {
      this.#memory.discard(entries)
      throw error
    }
    await this.#changeMemory(entries)
  }

  async addMemory(region: MemoryRegion, fd: number): Promise<void> {
    this.#warnOfShrinking(fd)
    await this.#changeMemory(this.#memory.with(this.#memory.map(region, fd)))
  }

  async removeMemory(region: MemoryRegion): Promise<void> {
    const entry = this.#memory.find(region)
    if (entry !== undefined) await this.#changeMemory(this.#memory.without(entry))
  }

  #warnOfShrinking(fd: number): void {
    if (GuestMemoryTable.canShrink(fd))
      this.#log.debug(
        'guest memory is not sealed against shrinking: a front end that truncates it would kill this process',
      )
  }

  /**
   * Replaces the memory table, also while rings run: they pause, with nothing in flight, and go on where they were.
   *
   * @throws DeviceError where a running ring would be left outside of memory; then nothing has changed
   */
  async #changeMemory(entries: readonly MemoryEntry[]): Promise<void> {
    const running = [...this.#active.values()]
    const memory = GuestMemoryTable.memoryOf(entries)
    try {
      for (const setup of running) hostRing(setup, memory)
      if (running.length > 0) this.#lockImages()
    } catch (error) {
      this.#memory.discard(entries)
      throw error
    }
    try {
      await Promise.all(
        running.map(async (setup) => {
          this.#paused.set(setup.index, { ...setup, base: await this.stopRing(setup.index) })
        }),
      )
      const gone = this.#memory.replace(entries, memory)
      await this.#tellAll({ type: 'setMemory', controller: this.id, regions: this.#memory.regions })
      GuestMemoryTable.unmap(gone)
      for (const [index, setup] of this.#paused) {
        await this.startRing(setup)
        this.#paused.delete(index)
      }
    } finally {
      if (running.length > 0) this.#unlockImages()
    }
  }

  async startRing(setup: RingSetup): Promise<void> {
    const { index } = setup
    const ring = hostRing(setup, this.#memory.memory)
    const fault = (code: string): void => this.#events.fault(index, code)
    if (index === VQ.CONTROL) {
      this.#control = new ControlQueue(
        ring,
        this.#memory.memory,
        (request) => manageTask(this.#nexuses, request),
        fault,
        (error) => this.#events.failed(error),
      )
    } else if (index === VQ.EVENT) {
      this.#event = new EventQueue(ring, this.#memory.memory, fault, this.#missedEvents)
    } else {
      await this.#startQueue(ring)
    }
    this.#active.set(index, setup)
  }

  async #startQueue(ring: HostRing): Promise<void> {
    const { index } = ring
    const iothread = this.#iothreadOf(index)
    const queue = { ...ring, statistics: this.#statisticsOf(index).memory }
    const isFirst = this.#running === 0
    if (isFirst) this.#lockImages()
    try {
      await iothread.send({ type: 'startQueue', controller: this.id, queue })
    } catch (error) {
      if (isFirst) this.#unlockImages()
      throw error
    }
  }

  /** How many request rings are active. */
  get #running(): number {
    return [...this.#active.keys()].filter((index) => index >= VQ.REQUEST).length
  }

  /** Only while a ring runs: so that another daemon can take over, or a migration's other side, when it does not. */
  #lockImages(): void {
    const held: ImageLock[] = []
    try {
      for (const { lock } of this.#luns) {
        lock?.acquire()
        if (lock !== undefined) held.push(lock)
      }
    } catch (error) {
      for (const lock of held) lock.release()
      throw error
    }
  }

  #unlockImages(): void {
    for (const { lock } of this.#luns) lock?.release()
  }

  #statisticsOf(index: number): QueueStatistics {
    let statistics = this.#statistics.get(index)
    if (statistics === undefined) {
      statistics = new QueueStatistics(this.#luns.length)
      this.#statistics.set(index, statistics)
    }
    return statistics
  }

  #iothreadOf(index: number): IoThread {
    const iothread = this.#iothreads[index - VQ.REQUEST]
    if (iothread === undefined) throw new DeviceError('VUS_RING_INDEX', `ring ${index} has no IOThread`)
    return iothread
  }

  async stopRing(index: number): Promise<number> {
    const paused = this.#paused.get(index)
    if (paused !== undefined) {
      this.#paused.delete(index)
      return paused.base
    }
    const base = await this.#stop(index)
    this.#active.delete(index)
    if (index >= VQ.REQUEST && this.#running === 0) this.#unlockImages()
    return base
  }

  async #stop(index: number): Promise<number> {
    if (index === VQ.CONTROL) return this.#control!.stop()
    if (index === VQ.EVENT) {
      this.#missedEvents = this.#event!.missed
      return this.#event!.stop()
    }
    return this.#iothreadOf(index).send({ type: 'stopQueue', controller: this.id, index })
  }

  async setCall(index: number, fd: number): Promise<void> {
    this.#active.set(index, { ...this.#active.get(index)!, callFd: fd })
    if (index === VQ.CONTROL) this.#control!.setCall(fd)
    else if (index === VQ.EVENT) this.#event!.setCall(fd)
    else await this.#iothreadOf(index).send({ type: 'setCall', controller: this.id, index, callFd: fd })
  }

  async setErr(index: number, fd: number): Promise<void> {
    this.#active.set(index, { ...this.#active.get(index)!, errFd: fd })
    if (index === VQ.CONTROL) this.#control!.setErr(fd)
    else if (index === VQ.EVENT) this.#event!.setErr(fd)
    else await this.#iothreadOf(index).send({ type: 'setErr', controller: this.id, index, errFd: fd })
  }

  /** A virtio reset is a power-on for the initiator (SAM-5 6.3.1). */
  async reset(): Promise<void> {
    this.#missedEvents = false
    for (const { attention } of this.#nexuses) raiseAttention(attention, ATTENTION.POWER_ON)
  }

  readConfig(offset: number, size: number): Uint8Array | undefined {
    return this.#configSpace.read(offset, size)
  }

  writeConfig(offset: number, bytes: Uint8Array): boolean {
    return this.#configSpace.accepts(offset, bytes)
  }

  async disconnect(): Promise<void> {
    this.#missedEvents = false
    await this.#changeMemory([])
  }
}
