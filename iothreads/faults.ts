import { CHAIN_FAULTS } from 'vhost-user-protocol-ts'
import { READ_FAULTS } from './request-reader.js'

/** The driver's available index is more than a ring ahead. */
export const RING_INDEX_FAULT = 'VUS_RING_AVAILABLE_INDEX'
/** A request with both data-out and data-in. */
export const BIDIRECTIONAL_FAULT = 'VUS_REQUEST_BIDIRECTIONAL'
/** A LUN field of no known form. */
export const LUN_FAULT = 'VUS_REQUEST_LUN_FORMAT'
/** A write to guest memory that the dirty log of a migration has no bit for. */
export const LOG_RANGE_FAULT = 'VUS_RING_LOG_RANGE'

/** Every fault of a guest's ring or request that is counted, by stable name; the place in the list is the place of its counter. */
export const FAULT_CODES: readonly string[] = [
  RING_INDEX_FAULT,
  BIDIRECTIONAL_FAULT,
  LUN_FAULT,
  LOG_RANGE_FAULT,
  ...Object.values(CHAIN_FAULTS),
  ...Object.values(READ_FAULTS),
]
