import { NEXUS_WORD } from './access.js'
import { withoutReserve } from './reservations/reserve-release.js'
import { accessOf, type ItNexus, isSameNexus, NO_RESERVATIONS, type Reservations } from './reservations/state.js'
import type { TargetPort } from './target-port.js'
import type { Attentive } from './task-management.js'

/** An I_T_L nexus: its ports, and its words. */
export interface ReservingNexus extends Attentive {
  /** SAS address of the initiator port: 16 hex digits in lower case. */
  readonly initiator: string
  readonly port: TargetPort
}

/** What reservations know a nexus by. */
export function itNexus({ initiator, port }: ReservingNexus): ItNexus {
  return { initiator, port: port.relative }
}

/** The reservations of a logical unit, and what its nexuses are told of them: their access words. */
export class UnitReservations {
  /** Whether they can be kept through a power loss (PTPL_C). */
  persistent = false
  readonly #nexuses: ReadonlySet<ReservingNexus>
  #state = NO_RESERVATIONS

  /** @param nexuses as they are now: they come and go */
  constructor(nexuses: ReadonlySet<ReservingNexus>) {
    this.#nexuses = nexuses
  }

  get state(): Reservations {
    return this.#state
  }

  /** The RELATIVE TARGET PORT IDENTIFIERs of the target ports through which the unit is reached. */
  get ports(): readonly number[] {
    return [...new Set([...this.#nexuses].map(({ port }) => port.relative))]
  }

  /** Replaces them. Whether some commands conflict now that did not before: those may still be under way. */
  change(state: Reservations): boolean {
    this.#state = state
    return this.publish()
  }

  /** Writes the access words of all nexuses; answers as `change` does. A nexus that has come has to be told. */
  publish(): boolean {
    let conflicts = false
    for (const nexus of this.#nexuses) {
      const access = accessOf(this.#state, itNexus(nexus))
      const before = Atomics.exchange(nexus.attention, NEXUS_WORD.ACCESS, access)
      if ((access & ~before) !== 0) conflicts = true
    }
    return conflicts
  }

  /** Those of the unit's nexuses that are meant. */
  among<T extends ReservingNexus>(nexuses: Iterable<T>, meant: readonly ItNexus[]): T[] {
    return [...nexuses].filter((nexus) => meant.some((each) => isSameNexus(each, itNexus(nexus))))
  }

  /** A reservation by RESERVE ends with its nexus (SPC-2 5.5.1), and with a reset of the unit. Whether there was one. */
  lose(nexus?: ReservingNexus): boolean {
    const after = withoutReserve(this.#state, nexus === undefined ? undefined : itNexus(nexus))
    if (after === this.#state) return false
    this.change(after)
    return true
  }
}
