import { SENSE } from './sense.js'
import type { Attentive } from './task-management.js'
import { ATTENTION, raise } from './unit-attention.js'
import type { UnitState } from './unit-state.js'

/** Bytes of a threshold set (SBC-3 4.7.3.7.2): what space is counted in. */
const SET_BYTES = 2 ** 20
const MOST_SETS = 0xffffffff

/** THRESHOLD EXPONENT (SBC-3 6.6.5): a threshold set has 2 to that power blocks. */
export function thresholdExponent(blockSize: number): number {
  return Math.log2(SET_BYTES / blockSize)
}

/** Threshold sets that hold so many bytes, a part counted as one; of what is left, as none. */
export function thresholdSets(bytes: number, round: (sets: number) => number = Math.ceil): number {
  return Math.min(round(bytes / SET_BYTES), MOST_SETS)
}

/**
 * Publishes how much space a unit has left and uses. When what is left gets down to the threshold, every nexus is told (SBC-3
 * 4.7.3.7.6), once: not again before there was more.
 *
 * @param wasReached what this has answered the last time; false at first
 * @returns whether there is no more than the threshold; `told`: that nexuses were told now, of `attention`
 */
export function changeSpace(
  state: UnitState,
  { available, used, threshold }: { readonly available: number; readonly used: number; readonly threshold: number },
  wasReached: boolean,
  nexuses: Iterable<Attentive>,
): { readonly reached: boolean; readonly told: boolean } {
  state.setSpace(available, used)
  const reached = available <= threshold
  const told = reached && !wasReached
  if (told) for (const { attention } of nexuses) raise(attention, ATTENTION.SPACE_THRESHOLD)
  return { reached, told }
}

/** What initiators are told then. */
export const SPACE_THRESHOLD_SENSE = SENSE.THIN_PROVISIONING_SOFT_THRESHOLD_REACHED
