import { SENSE, type SenseCode } from './sense.js'

/**
 * Unit attention conditions as bits of a nexus's word: the lowest bit set is reported first (SAM-5 5.14.1, table "Unit
 * attention condition precedence level").
 */
export const ATTENTION = {
  POWER_ON: 1 << 0,
  DEVICE_INTERNAL_RESET: 1 << 1,
  BUS_RESET: 1 << 2,
  BUS_DEVICE_RESET: 1 << 3,
  NEXUS_LOSS: 1 << 4,
  NOT_READY_TO_READY: 1 << 5,
  MODE_PARAMETERS_CHANGED: 1 << 6,
  RESERVATIONS_PREEMPTED: 1 << 7,
  RESERVATIONS_RELEASED: 1 << 8,
  REGISTRATIONS_PREEMPTED: 1 << 9,
  CAPACITY_CHANGED: 1 << 10,
  COMMANDS_CLEARED: 1 << 11,
  INQUIRY_DATA_CHANGED: 1 << 12,
  REPORTED_LUNS_CHANGED: 1 << 13,
  SPACE_THRESHOLD: 1 << 14,
} as const

/** What may have ended a reservation: such a condition is reported before a reservation conflict (SAM-5 5.3.3). */
export const RESETS =
  ATTENTION.POWER_ON |
  ATTENTION.DEVICE_INTERNAL_RESET |
  ATTENTION.BUS_RESET |
  ATTENTION.BUS_DEVICE_RESET |
  ATTENTION.NEXUS_LOSS

// By bit number.
const CODES: readonly SenseCode[] = [
  SENSE.POWER_ON_RESET_OR_BUS_DEVICE_RESET_OCCURRED,
  SENSE.DEVICE_INTERNAL_RESET,
  SENSE.SCSI_BUS_RESET_OCCURRED,
  SENSE.BUS_DEVICE_RESET_FUNCTION_OCCURRED,
  SENSE.I_T_NEXUS_LOSS_OCCURRED,
  SENSE.NOT_READY_TO_READY_CHANGE,
  SENSE.MODE_PARAMETERS_CHANGED,
  SENSE.RESERVATIONS_PREEMPTED,
  SENSE.RESERVATIONS_RELEASED,
  SENSE.REGISTRATIONS_PREEMPTED,
  SENSE.CAPACITY_DATA_HAS_CHANGED,
  SENSE.COMMANDS_CLEARED_BY_ANOTHER_INITIATOR,
  SENSE.INQUIRY_DATA_HAS_CHANGED,
  SENSE.REPORTED_LUNS_DATA_HAS_CHANGED,
  SENSE.THIN_PROVISIONING_SOFT_THRESHOLD_REACHED,
]

/** Establishes a unit attention condition. A power on leaves nothing of what was pending before it. */
export function raise(attention: Int32Array, condition: number): void {
  if (condition === ATTENTION.POWER_ON) Atomics.store(attention, 0, condition)
  else Atomics.or(attention, 0, condition)
}

/** Clears conditions without reporting them. */
export function clear(attention: Int32Array, conditions: number): void {
  Atomics.and(attention, 0, ~conditions)
}

/**
 * Takes the pending condition of highest precedence: its sense code, or 0. Of several threads that try, one gets it.
 */
export function take(attention: Int32Array): SenseCode {
  for (;;) {
    const pending = Atomics.load(attention, 0)
    if (pending === 0) return 0
    const lowest = pending & -pending
    if (Atomics.compareExchange(attention, 0, pending, pending & ~lowest) !== pending) continue
    // A bit that nobody has defined is dropped.
    const code = CODES[31 - Math.clz32(lowest)]
    if (code !== undefined) return code
  }
}
