/** IOThreads: the workers that serve request virtqueues. */
export { FAULT_CODES, LOG_RANGE_FAULT, RING_INDEX_FAULT } from './faults.js'
export { type Inflight, type Takeover, takeOver } from './inflight.js'
export {
  DEFAULT_POLL_MAX_NS,
  type ForwardedTask,
  IoThread,
  type IoThreadEvents,
  type IoThreadOptions,
  type MediumFault,
  type RingFault,
} from './iothread.js'
export type { MediumJob } from './medium-job.js'
export type {
  Command,
  ForwardedCommand,
  HostRing,
  InflightArea,
  Medium,
  QueueSpec,
  RingLog,
  UnitSpec,
} from './messages.js'
export { openVirtqueue } from './open-virtqueue.js'
export { CANCEL } from './request.js'
export { dirtyLog } from './ring-log.js'
export { FIELD, OPERATION, OPERATION_NAMES, QUEUE_FIELD, QueueStatistics } from './statistics.js'
export { THREAD_FIELD, ThreadStatistics } from './thread-statistics.js'
export { createGate } from './write-gate-memory.js'
