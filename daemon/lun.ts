/** A disk: its medium opened, its state shared with the IOThreads. */
import { constants } from 'node:fs'
import { close, createMemfd, F_SEAL_GROW, F_SEAL_SHRINK, Mapping, openFd, statfsType, TMPFS_MAGIC } from 'memfd-mmap'
import { createGate, type Medium } from '../iothreads/index.js'
import { FLAG, LogicalUnit, type UnitConfig, type UnitNexus, UnitServer, UnitState } from '../scsi/index.js'
import type { LunConfig } from './daemon-config.js'
import { errorCode, errorReason, StartError } from './errors.js'
import { ImageLock } from './image-lock.js'
import type { StateDir } from './state-dir.js'
import type { ManagedNexus } from './task-manager.js'
import { flush, performEffect } from './unit-effects.js'
import { UnitExecutor } from './unit-executor.js'
import { UnitKeeper } from './unit-keeper.js'

/** Without updates of the access time at each read, which only a file's owner may ask for. */
function openImage(path: string, access: number): number {
  try {
    return openFd(path, access | constants.O_NOATIME)
  } catch (error) {
    if (errorCode(error) !== 'EPERM') throw error
    return openFd(path, access)
  }
}

/** A LUN as one controller has it. */
export interface LunNexus extends ManagedNexus, UnitNexus {
  readonly unit: Lun
  /** The LUN's. */
  readonly executor: UnitExecutor
  /** Tells the driver of an event at the LUN, if it takes part in such events (virtio 1.3 5.6.6.3). */
  announce(type: number, reason: number): void
  /** The driver begins anew: a power on (SAM-5 6.3.1). */
  begin(): Promise<void>
}

export class Lun {
  readonly config: LunConfig
  readonly unit: UnitConfig
  readonly state: UnitState
  readonly medium: Medium
  /** The memory of its write gate. */
  readonly gate = createGate()
  /** Held while a front end uses the LUN; undefined: nothing to lock. */
  readonly lock: ImageLock | undefined
  /** The controllers' ways to it. */
  readonly nexuses = new Set<LunNexus>()
  /** Of commands that IOThreads leave to the main thread. */
  readonly executor: UnitExecutor
  /** Keeps the unit's state beyond the end of the process; undefined: nobody does. */
  keeper: UnitKeeper | undefined
  readonly #fd: number
  readonly #mapping: Mapping | undefined

  private constructor(config: LunConfig, medium: Medium, fd: number, mapping?: Mapping) {
    this.config = config
    this.medium = medium
    if (medium.kind === 'file' && config.locking === 'auto') {
      this.lock = new ImageLock(fd, config.path!, !config.readOnly, config.shareRw)
    }
    this.#fd = fd
    this.#mapping = mapping
    const { blockSize, physicalBlockSize, vendor, product, revision, serial, wwn, rotationRate, removable, readOnly } =
      config
    this.unit = {
      blockSize,
      physicalBlockSize,
      vendor,
      product,
      revision,
      serial,
      wwn,
      rotationRate,
      removable,
      readOnly,
      discard: config.discard === 'unmap',
      ...(config.spaceThreshold !== undefined && { spaceThreshold: config.spaceThreshold }),
      // Its content ends with the process: no failure leaves a part of a write. Of a file nothing of that kind is known, its pages
      // being written when the kernel likes to.
      atomicWrites: medium.kind === 'memory',
    }
    const flags = (config.readOnly ? FLAG.READ_ONLY : 0) | (config.writeCache ? FLAG.WRITE_CACHE : 0)
    this.state = UnitState.create(config.size / blockSize, flags)
    const server = new UnitServer(new LogicalUnit(this.unit, this.state), this.nexuses)
    this.executor = new UnitExecutor(
      server,
      (effect, nexus) => performEffect(this, effect, nexus),
      () => this.keep(),
    )
  }

  /** Has what guests change of the unit outlive the daemon. */
  keepIn({ path, bootId }: StateDir): void {
    const { id, wwn, serial, driver } = this.config
    const { server } = this.executor
    this.keeper = new UnitKeeper(path, bootId, { id, wwn, serial, volatile: driver === 'memory', server })
  }

  /** Resolves when the unit's state is on disk, if it is kept: 0, or -errno. */
  async keep(): Promise<number> {
    return this.keeper === undefined ? 0 : this.keeper.keep()
  }

  /** The I_T nexus is lost: what it has RESERVEd is free (SPC-2 5.5.1). */
  async lose(nexus: ManagedNexus): Promise<void> {
    const lost = [...this.nexuses].find((each) => each === nexus)
    if (lost !== undefined && this.executor.server.reservations.lose(lost)) await this.keep()
  }

  /** @throws StartError where the medium cannot be had */
  static open(config: LunConfig): Lun {
    try {
      switch (config.driver) {
        case 'file':
          return Lun.#openFile(config)
        case 'memory':
          return Lun.#openMemory(config)
        case 'null':
          return new Lun(config, { kind: 'null', delayNs: config.delayUs * 1000 }, -1)
      }
    } catch (error) {
      throw new StartError(
        errorCode(error),
        `lun "${config.id}": ${config.path ?? config.driver}: ${errorReason(error)}`,
        {
          cause: error,
        },
      )
    }
  }

  static #openFile(config: LunConfig): Lun {
    // What is read-only for the guest is read-only for us too: no fault of ours can write to it.
    const access = config.readOnly ? constants.O_RDONLY : constants.O_RDWR
    const fd = openImage(config.path!, access)
    return new Lun(config, { kind: 'file', fd, inline: statfsType(fd) === TMPFS_MAGIC }, fd)
  }

  static #openMemory(config: LunConfig): Lun {
    const fd = createMemfd(`vhost-user-scsid:${config.id}`, config.size, F_SEAL_GROW | F_SEAL_SHRINK)
    try {
      const mapping = Mapping.map({ fd, length: config.size, low: true })
      return new Lun(config, { kind: 'memory', fd, address: mapping.address }, fd, mapping)
    } catch (error) {
      close(fd)
      throw error
    }
  }

  /** LOGICAL UNIT RESET (SAM-5 6.3.3): all of its tasks were aborted. `told`: the nexuses that hear of it. */
  async reset(told: readonly ManagedNexus[]): Promise<void> {
    const nexuses = [...this.nexuses].filter((nexus) => told.includes(nexus))
    if (this.executor.server.reset(nexuses)) await flush(this)
    await this.keep()
  }

  /** The driver behind a nexus begins anew. */
  async begin(nexus: LunNexus): Promise<void> {
    if (this.executor.server.begin(nexus)) await flush(this)
    await this.keep()
  }

  /** Lets go of the medium. No IOThread uses it any more. */
  close(): void {
    this.#mapping?.unmap()
    if (this.#fd >= 0) close(this.#fd)
  }
}
