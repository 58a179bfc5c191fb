import { NEXUS_WORD } from './access.js'
import { ATTENTION, raise } from './unit-attention.js'
import { MODE_FLAGS, type UnitState } from './unit-state.js'

/** Who is told by a unit attention: a Nexus, or whoever owns its words (NEXUS_WORD). */
export interface Attentive {
  readonly attention: Int32Array
}

function raiseAll(nexuses: Iterable<Attentive>, condition: number): void {
  for (const nexus of nexuses) raise(nexus.attention, condition)
}

/** Initiators have gone, or begin anew: they do not prevent the removal of a medium any more (SPC-4 6.15). */
export function allowRemoval(nexuses: Iterable<Attentive>): void {
  for (const { attention } of nexuses) Atomics.store(attention, NEXUS_WORD.PREVENTS, 0)
}

/**
 * A logical unit came into being, or all that was known of it was lost: every nexus is told, what was pending is gone
 * (SAM-5 6.3.1).
 */
export function powerOn(nexuses: Iterable<Attentive>): void {
  allowRemoval(nexuses)
  raiseAll(nexuses, ATTENTION.POWER_ON)
}

/**
 * What LOGICAL UNIT RESET does (SAM-5 6.3.3), after all its tasks were aborted: mode parameters have their defaults
 * again. `nexuses`: all that the unit has, of every controller.
 */
export function logicalUnitReset(state: UnitState, nexuses: Iterable<Attentive>): void {
  allowRemoval(nexuses)
  state.change(MODE_FLAGS, state.defaults)
  raiseAll(nexuses, ATTENTION.BUS_DEVICE_RESET)
}

/**
 * What I_T NEXUS RESET does (SAM-5 6.3.4), after the tasks were aborted. `nexuses`: those of the initiator with the
 * target's units.
 */
export function nexusReset(nexuses: Iterable<Attentive>): void {
  allowRemoval(nexuses)
  raiseAll(nexuses, ATTENTION.NEXUS_LOSS)
}

/** CLEAR TASK SET has aborted tasks of others (SAM-5 7.5): `nexuses` are those that lost one and did not ask for it. */
export function commandsCleared(nexuses: Iterable<Attentive>): void {
  raiseAll(nexuses, ATTENTION.COMMANDS_CLEARED)
}

/**
 * Publishes a new capacity in blocks and tells the unit's nexuses (SBC-3 4.4.1). Nothing happens if it is the old one.
 */
export function changeCapacity(state: UnitState, blocks: number, nexuses: Iterable<Attentive>): void {
  if (state.capacity === blocks) return
  state.capacity = blocks
  raiseAll(nexuses, ATTENTION.CAPACITY_CHANGED)
}

/** A logical unit was added to a target or taken away (SPC-4 6.33): `nexuses` are those with its other units. */
export function inventoryChanged(nexuses: Iterable<Attentive>): void {
  raiseAll(nexuses, ATTENTION.REPORTED_LUNS_CHANGED)
}
