/** Task management functions (SAM-5 clause 7, virtio 1.3 5.6.6.2), over all IOThreads that may hold a task. */
import { RESPONSE, TMF } from 'vhost-user-protocol-ts'
import { CANCEL, type IoThread } from '../iothreads/index.js'
import { ATTENTION, raiseAttention } from '../scsi/index.js'
import type { TaskManagementRequest } from './control-queue.js'

/** A logical unit in a controller, and its unit attentions. */
export interface ManagedUnit {
  readonly target: number
  readonly lun: number
  readonly attention: Int32Array
}

export interface TaskManagement {
  readonly controller: string
  /** Every IOThread that serves a queue of the controller, once each. */
  readonly iothreads: readonly IoThread[]
  readonly units: readonly ManagedUnit[]
}

/** The virtio response to a function, when everything that it ended is answered. */
export async function manageTask(context: TaskManagement, request: TaskManagementRequest): Promise<number> {
  const units = context.units.filter(({ target }) => target === request.target)
  if (units.length === 0) return RESPONSE.BAD_TARGET
  if (request.function === TMF.I_T_NEXUS_RESET) return nexusReset(context, units)
  const unit = units.find(({ lun }) => lun === request.lun)
  if (unit === undefined) return RESPONSE.INCORRECT_LUN
  switch (request.function) {
    case TMF.ABORT_TASK:
      await cancel(context, unit, request.tag, CANCEL.ABORTED)
      return RESPONSE.OK
    case TMF.ABORT_TASK_SET:
    case TMF.CLEAR_TASK_SET:
      await cancel(context, unit, null, CANCEL.ABORTED)
      return RESPONSE.OK
    case TMF.LOGICAL_UNIT_RESET:
      await reset(context, unit, ATTENTION.BUS_DEVICE_RESET)
      return RESPONSE.OK
    case TMF.QUERY_TASK:
      return (await query(context, unit, request.tag)) > 0 ? RESPONSE.FUNCTION_SUCCEEDED : RESPONSE.OK
    case TMF.QUERY_TASK_SET:
      return (await query(context, unit, null)) > 0 ? RESPONSE.FUNCTION_SUCCEEDED : RESPONSE.OK
    default:
      // CLEAR ACA among them: no ACA is ever established (NormACA 0).
      return RESPONSE.FUNCTION_REJECTED
  }
}

async function nexusReset(context: TaskManagement, units: readonly ManagedUnit[]): Promise<number> {
  await Promise.all(units.map((unit) => reset(context, unit, ATTENTION.NEXUS_LOSS)))
  return RESPONSE.OK
}

async function reset(context: TaskManagement, unit: ManagedUnit, attention: number): Promise<void> {
  await cancel(context, unit, null, CANCEL.RESET)
  raiseAttention(unit.attention, attention)
}

type Tag = readonly [number, number]

/** Ends matching tasks in each IOThread; resolves with their number when all are answered. */
async function cancel(context: TaskManagement, unit: ManagedUnit, tag: Tag | null, reason: number): Promise<number> {
  const { controller, iothreads } = context
  const { target, lun } = unit
  const counts = await Promise.all(
    iothreads.map((iothread) => iothread.send({ type: 'cancel', controller, target, lun, tag, reason })),
  )
  return counts.reduce((sum, count) => sum + count, 0)
}

async function query(context: TaskManagement, unit: ManagedUnit, tag: Tag | null): Promise<number> {
  const { controller, iothreads } = context
  const { target, lun } = unit
  const counts = await Promise.all(
    iothreads.map((iothread) => iothread.send({ type: 'query', controller, target, lun, tag })),
  )
  return counts.reduce((sum, count) => sum + count, 0)
}
