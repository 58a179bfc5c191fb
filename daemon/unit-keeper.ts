/** Keeps what a guest has changed of a LUN beyond a restart of the daemon (--state-dir). */
import {
  ATTENTION,
  afterPowerLoss,
  FLAG,
  MODE_FLAGS,
  NEXUS_WORD,
  type UnitNexus,
  type UnitServer,
} from '../scsi/index.js'
import { errorReason, StartError } from './errors.js'
import { Serial } from './serial.js'
import { StateFile } from './state-file.js'
import { parseSnapshot, snapshotText, type UnitSnapshot } from './unit-snapshot.js'

/** Flags that initiators change. */
const KEPT_FLAGS = MODE_FLAGS | FLAG.EJECTED
/** How long to wait for another process to let go of the state, ms. */
const PATIENCE = 5000

export interface KeptUnit {
  /** Of the LUN, for messages. */
  readonly id: string
  readonly wwn: string
  readonly serial: string
  /** Its content ends with the process: a restart is a power-on, whatever the host's boot id says. */
  readonly volatile: boolean
  readonly server: UnitServer
}

export class UnitKeeper {
  readonly #unit: KeptUnit
  readonly #bootId: string
  readonly #file: StateFile
  #opening: Promise<void> | undefined
  /** The daemon before has been asked to let go of the state, and may take this long, ms. */
  #patience = PATIENCE
  /** What the file says. */
  #written = ''
  /** Unit attentions of controllers that have not been here yet: their nexuses have been before, and begin with no power on. */
  readonly #attentions = new Map<string, number>()
  readonly #keeping = new Serial()
  #frozen = false

  /** @param directory exists @param bootId of the host */
  constructor(directory: string, bootId: string, unit: KeptUnit) {
    this.#unit = unit
    this.#bootId = bootId
    this.#file = new StateFile(`${directory}/lun-${unit.wwn}.json`)
    unit.server.reservations.persistent = true
  }

  /** Another daemon may take this long to let go of the state, ms. */
  expectWithin(patience: number): void {
    this.#patience = Math.max(this.#patience, patience)
  }

  /**
   * Takes the state over, once: reservations, mode parameters and pending unit attentions are as they were, if this is no power-on.
   * Nothing has been served before.
   *
   * Rejects with StartError: another process has it, or it cannot be read
   */
  open(): Promise<void> {
    this.#opening ??= this.#open().catch((error: unknown) => {
      // Whoever asks next tries again.
      this.#opening = undefined
      throw error
    })
    return this.#opening
  }

  async #open(): Promise<void> {
    const { path } = this.#file
    const locked = await this.#file
      .lock(this.#patience)
      .catch((error: unknown) => this.#refuse(errorReason(error), error))
    if (!locked) this.#refuse('another process keeps state there', undefined, 'EBUSY')
    try {
      const text = await this.#file.read().catch((error: unknown) => this.#refuse(errorReason(error), error))
      if (text === undefined) return
      const snapshot = parseSnapshot(text)
      if (snapshot === undefined) {
        this.#refuse(`not the state of a LUN, or damaged; without ${path} the LUN starts without reservations`)
      }
      this.#restore(snapshot)
      this.#written = text
    } catch (error) {
      this.#file.close()
      throw error
    }
  }

  #refuse(why: string, cause?: unknown, code = 'VUS_STATE'): never {
    throw new StartError(code, `lun "${this.#unit.id}": ${this.#file.path}: ${why}`, { cause })
  }

  #restore({ bootId, flags, defaults, reservations, attentions }: UnitSnapshot): void {
    const { server, volatile } = this.#unit
    if (volatile || bootId !== this.#bootId) {
      server.reservations.change(afterPowerLoss(reservations))
      return
    }
    const { state } = server.unit
    // What the configuration has changed meanwhile is as the configuration says.
    const same = ~(defaults ^ state.defaults)
    state.change(KEPT_FLAGS & same, flags)
    for (const [controller, attention] of Object.entries(attentions)) this.#attentions.set(controller, attention)
    for (const nexus of server.nexuses) this.welcome(nexus)
    server.reservations.change(reservations)
  }

  /** A nexus has come: one that was here before the restart has the unit attentions that it had then, and no power on. */
  welcome({ controller, attention }: UnitNexus): void {
    const before = this.#attentions.get(controller)
    if (before === undefined) return
    this.#attentions.delete(controller)
    const since = Atomics.load(attention, NEXUS_WORD.ATTENTION) & ~ATTENTION.POWER_ON
    Atomics.store(attention, NEXUS_WORD.ATTENTION, before | since)
  }

  /** Has the state on disk as it is now, or as it is by then: resolves with 0 when it is there, or with -errno. */
  keep(): Promise<number> {
    return this.#keeping.run(() => this.#keep())
  }

  async #keep(): Promise<number> {
    if (!this.#file.isLocked || this.#frozen) return 0
    const text = this.#text()
    if (text === this.#written) return 0
    try {
      await this.#file.write(text)
      this.#written = text
      return 0
    } catch (error) {
      // Nobody knows what is there now.
      this.#written = ''
      return -Math.abs((error as NodeJS.ErrnoException).errno ?? 1)
    }
  }

  #text(): string {
    const { server, wwn, serial } = this.#unit
    const { flags, defaults } = server.unit.state
    const attentions: Record<string, number> = Object.fromEntries(this.#attentions)
    for (const { controller, attention } of server.nexuses) {
      attentions[controller] = Atomics.load(attention, NEXUS_WORD.ATTENTION)
    }
    return snapshotText({
      bootId: this.#bootId,
      wwn,
      serial,
      flags: flags & KEPT_FLAGS,
      defaults: defaults & KEPT_FLAGS,
      reservations: server.reservations.state,
      attentions,
    })
  }

  /** Keeps the state a last time: that its nexuses go now is the end of the daemon, and nothing of theirs. */
  async freeze(): Promise<void> {
    await this.keep()
    this.#frozen = true
  }

  async close(): Promise<void> {
    await this.#keeping.run(async () => this.#file.close())
  }
}
