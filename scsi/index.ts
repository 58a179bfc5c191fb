export { ACCESS, CONFLICTS, createNexusWords, NEXUS_WORD } from './access.js'
export { LIMITS, mostAtomic, mostCompared } from './block-limits.js'
export { DISK_COMMANDS, FULL_DISK_COMMANDS, parameterListLength } from './cdb-table.js'
export { Command, MAX_BLOCK_SIZE, NEED, OPCODE, SERVICE_ACTION } from './command.js'
export { CommandTable } from './command-table.js'
export { ERRNO, senseFromErrno } from './errno.js'
export { LogicalUnit } from './logical-unit.js'
export { MAX_LUN, WLUN_REPORT_LUNS } from './lun-list.js'
export { Nexus } from './nexus.js'
export * from './reservations/index.js'
export { encodeSense, SENSE, SENSE_BYTES, SENSE_KEY, type SenseCode, type SenseDetail } from './sense.js'
export { changeSpace, SPACE_THRESHOLD_SENSE } from './space-threshold.js'
export { STATUS } from './status.js'
export { Target } from './target.js'
export { TargetMap } from './target-map.js'
export type { TargetPort } from './target-port.js'
export {
  ACTION,
  CDB_BYTES,
  complete,
  DIRECTION,
  MAX_PARAMETER_BYTES,
  type Program,
  Task,
  type TaskAnswer,
} from './task.js'
export * from './task-management.js'
export { ATTENTION, clear as clearAttention, raise as raiseAttention, take as takeAttention } from './unit-attention.js'
export {
  checkUnitConfig,
  discardGranularity,
  IDENTITY_LENGTH,
  type UnitConfig,
  UnitConfigError,
} from './unit-config.js'
export { type Effect, type Effects, type Service, type UnitNexus, UnitServer } from './unit-server.js'
export { FLAG, MODE_FLAGS, UnitState } from './unit-state.js'
