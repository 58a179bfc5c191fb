/** The LUNs of one controller: their addresses, their nexuses, and what is held for them. They come and go. */
import { DeviceError } from 'vhost-user-protocol-ts'
import type { UnitSpec } from '../iothreads/index.js'
import { ATTENTION, createNexusWords, raiseAttention, type TargetPort } from '../scsi/index.js'
import type { LunPlace } from './daemon-config.js'
import { initiatorPort } from './initiator-port.js'
import type { Lun, LunNexus } from './lun.js'
import { LunError } from './lun-error.js'
import type { Placement } from './task-manager.js'

/** How long a controller waits for the locks of its images, ms. */
const LOCK_PATIENCE = 5000

interface Member {
  readonly lun: Lun
  readonly place: LunPlace
  readonly nexus: LunNexus
}

/** Tells the driver of an event at an address (virtio 1.3 5.6.6.3). */
export type Announce = (at: Pick<LunPlace, 'target' | 'lun'>, type: number, reason: number) => void

export class ControllerLuns {
  readonly #controller: string
  readonly #port: TargetPort
  readonly #placement: Placement
  readonly #announce: Announce
  readonly #members = new Map<string, Member>()
  /** Ids of all that were ever here: what statistics name them by. One that comes again has its old counters. */
  readonly #known: string[] = []
  #locked = false

  constructor(controller: string, port: TargetPort, placement: Placement, announce: Announce) {
    this.#controller = controller
    this.#port = port
    this.#placement = placement
    this.#announce = announce
  }

  /** Their addresses. */
  get places(): readonly LunPlace[] {
    return [...this.#members.values()].map(({ place }) => place)
  }

  get nexuses(): readonly LunNexus[] {
    return [...this.#members.values()].map(({ nexus }) => nexus)
  }

  /** Ids by what statistics name them by, also of those that are gone. */
  get known(): readonly string[] {
    return this.#known
  }

  /** @throws LunError ENOENT: there is none of that id */
  place(id: string): LunPlace {
    return this.#member(id).place
  }

  #member(id: string): Member {
    const member = this.#members.get(id)
    if (member === undefined) throw new LunError('ENOENT', `controller "${this.#controller}" has no LUN "${id}"`)
    return member
  }

  /**
   * Adds a LUN; its nexus begins with a power on.
   *
   * @throws LunError EEXIST: it is here already, or its address is taken; EBUSY: another controller writes to it, and it is
   *   not to be shared
   * @throws DeviceError VUS_IMAGE_LOCKED
   */
  add(lun: Lun, place: LunPlace): void {
    this.#check(lun, place)
    if (this.#locked) lun.lock?.acquire()
    const attention = createNexusWords()
    raiseAttention(attention, ATTENTION.POWER_ON)
    const nexus: LunNexus = {
      controller: this.#controller,
      port: this.#port,
      initiator: initiatorPort(this.#controller),
      placement: this.#placement,
      target: place.target,
      lun: place.lun,
      readOnly: place.readOnly,
      attention,
      unit: lun,
      executor: lun.executor,
      announce: (type, reason) => this.#announce(place, type, reason),
      begin: () => lun.begin(nexus),
      reachable: () =>
        [...this.#members.values()].map((member) => ({ nexus: member.nexus, server: member.lun.executor.server })),
    }
    if (!this.#known.includes(place.id)) this.#known.push(place.id)
    this.#members.set(place.id, { lun, place, nexus })
    lun.nexuses.add(nexus)
    lun.executor.server.reservations.publish()
    lun.keeper?.welcome(nexus)
  }

  #check({ config, nexuses }: Lun, { id, target, lun, readOnly }: LunPlace): void {
    const here = `controller "${this.#controller}"`
    if (this.#members.has(id)) throw new LunError('EEXIST', `${here} has LUN "${id}" already`)
    const other = this.places.find((each) => each.target === target && each.lun === lun)
    if (other !== undefined) {
      throw new LunError('EEXIST', `${here} has LUN "${other.id}" at target ${target} lun ${lun} already`)
    }
    if (readOnly || config.shareRw) return
    const writer = [...nexuses].find((nexus) => !nexus.readOnly)
    if (writer === undefined) return
    throw new LunError(
      'EBUSY',
      `LUN "${id}": both controller "${writer.controller}" and ${here} could write to it, ` +
        'expected share-rw=on, or read-only=on for all but one',
    )
  }

  /** Takes a LUN away: no IOThread has it any more. @throws LunError ENOENT */
  remove(id: string): void {
    const { lun, nexus } = this.#member(id)
    this.#members.delete(id)
    lun.nexuses.delete(nexus)
    if (this.#locked) lun.lock?.release()
  }

  /** The controller is gone. */
  clear(): void {
    for (const id of [...this.#members.keys()]) this.remove(id)
  }

  /** What IOThreads are told of the LUNs, but for the one whose id is `without`. */
  units(without?: string): UnitSpec[] {
    return [...this.#members]
      .filter(([id]) => id !== without)
      .map(([id, { lun, place, nexus }]) => ({
        place: this.#known.indexOf(id),
        target: place.target,
        lun: place.lun,
        readOnly: place.readOnly,
        config: lun.unit,
        port: this.#port,
        state: lun.state.memory,
        attention: nexus.attention.buffer as SharedArrayBuffer,
        medium: lun.medium,
        gate: lun.gate,
      }))
  }

  /**
   * Takes the locks of the images: only while a ring runs, so that another daemon can take over, or a migration's other
   * side, when none does.
   *
   * Waits a while for images that others use: of a process that was killed the kernel may still have writes to carry out, and
   * its locks are there until then. Resolves when they are all taken.
   *
   * @param patience how long to wait for each, ms
   * @throws DeviceError VUS_IMAGE_LOCKED: then none is taken
   */
  async lock(patience = LOCK_PATIENCE): Promise<void> {
    const held: Lun[] = []
    try {
      for (const { lun } of this.#members.values()) {
        await lun.lock?.acquireWithin(patience)
        held.push(lun)
        await lun.keeper?.open().catch((error: unknown) => {
          throw new DeviceError('VUS_STATE', error instanceof Error ? error.message : String(error))
        })
      }
    } catch (error) {
      for (const { lock } of held) lock?.release()
      throw error
    }
    this.#locked = true
  }

  unlock(): void {
    this.#locked = false
    for (const { lun } of this.#members.values()) lun.lock?.release()
  }
}
