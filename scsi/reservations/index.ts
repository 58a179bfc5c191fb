export type { Notice, Outcome } from './outcome.js'
export * from './reports.js'
export { RESERVE_OUT, type ReserveOut, type ReserveOutContext, reserveOut } from './reserve-out.js'
export { releaseUnit, reserveUnit, withoutReserve } from './reserve-release.js'
export { reservationsFrom } from './serialized.js'
export {
  accessOf,
  afterPowerLoss,
  type ItNexus,
  isSameNexus,
  NO_RESERVATIONS,
  type Registrant,
  type Reservations,
} from './state.js'
export { isReservationType, RESERVATION_TYPE } from './type.js'
