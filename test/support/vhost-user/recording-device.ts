import { fstatSync } from 'node:fs'
import { createMemfd } from 'memfd-mmap'
import {
  type BackendDevice,
  type DirtyLogCapability,
  featureMask,
  type InflightCapability,
  type MemoryRegion,
  type RingSetup,
  VHOST_F,
  VHOST_USER_PROTOCOL_F,
  VIRTIO_F,
  VIRTIO_SCSI_F,
} from 'vhost-user-protocol-ts'

export interface Call {
  method: string
  args: unknown[]
}

/** Bytes of the inflight buffers that the device makes. */
export const INFLIGHT_BYTES = 8192

const MIGRATION_FEATURES = featureMask(
  VHOST_USER_PROTOCOL_F.LOG_SHMFD,
  VHOST_USER_PROTOCOL_F.INFLIGHT_SHMFD,
  VHOST_USER_PROTOCOL_F.BACKEND_REQ,
)

/** A device that writes down what it is told, and can be made to wait or to fail. */
export class RecordingDevice implements BackendDevice {
  features = featureMask(
    VIRTIO_F.VERSION_1,
    VIRTIO_F.EVENT_IDX,
    VIRTIO_F.INDIRECT_DESC,
    VIRTIO_SCSI_F.HOTPLUG,
    VIRTIO_SCSI_F.CHANGE,
  )
  protocolFeatures = featureMask(
    VHOST_USER_PROTOCOL_F.MQ,
    VHOST_USER_PROTOCOL_F.REPLY_ACK,
    VHOST_USER_PROTOCOL_F.RESET_DEVICE,
    VHOST_USER_PROTOCOL_F.CONFIGURE_MEM_SLOTS,
  )
  dirtyLog: DirtyLogCapability | undefined
  inflight: InflightCapability | undefined
  ringCount = 4
  maxMemorySlots = 32
  config: Uint8Array | undefined
  /** Whether a ring was last stopped for good. */
  readonly discards = new Map<number, boolean>()
  /** Where stopRing says that a ring stands. */
  readonly bases = new Map<number, number>()
  readonly calls: Call[] = []
  /** Rings that run, by index. */
  readonly running = new Map<number, RingSetup>()
  readonly #failures = new Map<string, unknown[]>()
  readonly #holds = new Map<string, Promise<void>>()
  readonly #arrivals: { method: string; resolve: () => void }[] = []

  /** Offers dirty logging, inflight buffers and the back-end channel as well. */
  offerMigration(): this {
    this.features |= featureMask(VHOST_F.LOG_ALL)
    this.protocolFeatures |= MIGRATION_FEATURES
    this.dirtyLog = {
      setLog: (log) => {
        fstatSync(log.fd)
        return this.#record('setLog', { size: log.size, offset: log.offset })
      },
    }
    this.inflight = {
      create: (queues, queueSize) => {
        this.calls.push({ method: 'createInflight', args: [{ queues, queueSize }] })
        this.#throwFailure('createInflight')
        return { fd: createMemfd('inflight', INFLIGHT_BYTES), size: INFLIGHT_BYTES, offset: 64 }
      },
      set: ({ fd, ...buffer }) => {
        fstatSync(fd)
        return this.#record('setInflight', buffer)
      },
    }
    return this
  }

  /** The next call of `method` fails with `error`. */
  fail(method: string, error: unknown): void {
    this.#failures.set(method, [...(this.#failures.get(method) ?? []), error])
  }

  /** Calls of `method` wait until the function that comes back is called. */
  hold(method: string): () => void {
    let release = (): void => {}
    this.#holds.set(
      method,
      new Promise((resolve) => {
        release = () => {
          this.#holds.delete(method)
          resolve()
        }
      }),
    )
    return release
  }

  /** Resolves when `method` is called the next time. */
  called(method: string): Promise<void> {
    return new Promise((resolve) => this.#arrivals.push({ method, resolve }))
  }

  /** The methods called so far, with the ring's index where there is one; forgets them. */
  take(): string[] {
    return this.calls.splice(0).map(({ method, args }) => {
      const ring = method === 'startRing' ? (args[0] as RingSetup).index : args[0]
      return typeof ring === 'number' ? `${method} ${ring}` : method
    })
  }

  async #record(method: string, ...args: unknown[]): Promise<void> {
    this.calls.push({ method, args })
    for (const arrival of this.#arrivals.filter((other) => other.method === method)) {
      this.#arrivals.splice(this.#arrivals.indexOf(arrival), 1)
      arrival.resolve()
    }
    await this.#holds.get(method)
    this.#throwFailure(method)
  }

  #throwFailure(method: string): void {
    const failures = this.#failures.get(method) ?? []
    if (failures.length > 0) throw failures.shift()
  }

  setFeatures(features: bigint): Promise<void> {
    return this.#record('setFeatures', features)
  }

  setMemory(regions: readonly MemoryRegion[], fds: readonly number[]): Promise<void> {
    for (const fd of fds) fstatSync(fd)
    return this.#record('setMemory', regions, fds)
  }

  addMemory(region: MemoryRegion, fd: number): Promise<void> {
    fstatSync(fd)
    return this.#record('addMemory', region)
  }

  removeMemory(region: MemoryRegion): Promise<void> {
    return this.#record('removeMemory', region)
  }

  async startRing(setup: RingSetup): Promise<void> {
    await this.#record('startRing', setup)
    if (this.running.has(setup.index)) throw new Error(`ring ${setup.index} runs already`)
    for (const fd of [setup.kickFd, setup.callFd, setup.errFd]) if (fd >= 0) fstatSync(fd)
    this.running.set(setup.index, setup)
  }

  async stopRing(index: number, discard = false): Promise<number> {
    this.discards.set(index, discard)
    await this.#record('stopRing', index)
    const setup = this.running.get(index)
    if (setup === undefined) throw new Error(`ring ${index} does not run`)
    // They must be open as long as the ring runs.
    for (const fd of [setup.kickFd, setup.callFd, setup.errFd]) if (fd >= 0) fstatSync(fd)
    this.running.delete(index)
    return this.bases.get(index) ?? setup.base
  }

  async setCall(index: number, fd: number): Promise<void> {
    await this.#record('setCall', index, fd)
    const setup = this.running.get(index)
    if (setup === undefined) throw new Error(`setCall for ring ${index}, which does not run`)
    setup.callFd = fd
  }

  async setErr(index: number, fd: number): Promise<void> {
    await this.#record('setErr', index, fd)
    const setup = this.running.get(index)
    if (setup === undefined) throw new Error(`setErr for ring ${index}, which does not run`)
    setup.errFd = fd
  }

  async reset(): Promise<void> {
    await this.#record('reset')
    if (this.running.size > 0) throw new Error('reset while rings run')
  }

  readConfig(offset: number, size: number): Uint8Array | undefined {
    this.calls.push({ method: 'readConfig', args: [offset, size] })
    return this.config?.slice(offset, offset + size)
  }

  writeConfig(offset: number, bytes: Uint8Array): boolean {
    this.calls.push({ method: 'writeConfig', args: [offset, bytes] })
    if (this.config === undefined || offset + bytes.length > this.config.length) return false
    this.config.set(bytes, offset)
    return true
  }

  async disconnect(): Promise<void> {
    await this.#record('disconnect')
    if (this.running.size > 0) throw new Error('disconnect while rings run')
  }
}
