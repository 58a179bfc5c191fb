/** Task management functions (SAM-5 clause 7, virtio 1.3 5.6.6.2), over all IOThreads that may hold a task. */
import { RESPONSE, TMF } from 'vhost-user-protocol-ts'
import { CANCEL, type IoThread } from '../iothreads/index.js'
import { commandsCleared, logicalUnitReset, nexusReset, type UnitState } from '../scsi/index.js'
import type { TaskManagementRequest } from './control-queue.js'

/** What all controllers that have a LUN share. */
export interface ManagedUnit {
  readonly state: UnitState
  /** One for each controller that is attached to its IOThreads. */
  readonly nexuses: ReadonlySet<ManagedNexus>
}

/** Where a controller's commands are. */
export interface Placement {
  /** IOThreads that serve a queue of the controller now, once each. */
  readonly iothreads: readonly Pick<IoThread, 'send'>[]
  /** Set while a queue is between two IOThreads, and nobody sees what is in its ring; resolves afterwards. */
  readonly moving: Promise<void> | undefined
}

/** A LUN as one controller has it: its address, its unit attentions, and where its commands are. */
export interface ManagedNexus {
  readonly controller: string
  readonly placement: Placement
  readonly target: number
  readonly lun: number
  readonly attention: Int32Array
  readonly unit: ManagedUnit
}

/**
 * The virtio response to a function, when everything that it ended is answered.
 *
 * @param nexuses those of the controller that was asked
 */
export async function manageTask(nexuses: readonly ManagedNexus[], request: TaskManagementRequest): Promise<number> {
  const ofTarget = nexuses.filter(({ target }) => target === request.target)
  if (ofTarget.length === 0) return RESPONSE.BAD_TARGET
  if (request.function === TMF.I_T_NEXUS_RESET) return resetNexuses(ofTarget)
  const nexus = ofTarget.find(({ lun }) => lun === request.lun)
  if (nexus === undefined) return RESPONSE.INCORRECT_LUN
  switch (request.function) {
    case TMF.ABORT_TASK:
      await cancel(nexus, request.tag, CANCEL.ABORTED)
      return RESPONSE.OK
    case TMF.ABORT_TASK_SET:
      await cancel(nexus, null, CANCEL.ABORTED)
      return RESPONSE.OK
    case TMF.CLEAR_TASK_SET:
      return clearTaskSet(nexus)
    case TMF.LOGICAL_UNIT_RESET:
      return resetUnit(nexus.unit)
    case TMF.QUERY_TASK:
      return (await query(nexus, request.tag)) > 0 ? RESPONSE.FUNCTION_SUCCEEDED : RESPONSE.OK
    case TMF.QUERY_TASK_SET:
      return (await query(nexus, null)) > 0 ? RESPONSE.FUNCTION_SUCCEEDED : RESPONSE.OK
    default:
      // CLEAR ACA among them: no ACA is ever established (NormACA 0).
      return RESPONSE.FUNCTION_REJECTED
  }
}

/** SAM-5 7.7: the tasks of this initiator alone, on all units of the target. */
async function resetNexuses(nexuses: readonly ManagedNexus[]): Promise<number> {
  await Promise.all(nexuses.map((nexus) => cancel(nexus, null, CANCEL.RESET)))
  nexusReset(nexuses)
  return RESPONSE.OK
}

/** SAM-5 7.8: everybody's tasks, and everybody is told. */
async function resetUnit({ state, nexuses }: ManagedUnit): Promise<number> {
  const all = [...nexuses]
  await Promise.all(all.map((nexus) => cancel(nexus, null, CANCEL.RESET)))
  logicalUnitReset(state, all)
  return RESPONSE.OK
}

/** SAM-5 7.5: everybody's tasks; others who lost one are told. */
async function clearTaskSet(nexus: ManagedNexus): Promise<number> {
  const all = [...nexus.unit.nexuses]
  const counts = await Promise.all(all.map((each) => cancel(each, null, CANCEL.ABORTED)))
  commandsCleared(all.filter((each, i) => each !== nexus && counts[i]! > 0))
  return RESPONSE.OK
}

type Tag = readonly [number, number]

/** Ends matching tasks of a nexus in each IOThread; resolves with their number when all are answered. */
function cancel(nexus: ManagedNexus, tag: Tag | null, reason: number): Promise<number> {
  const { controller, target, lun } = nexus
  return sum(nexus, { type: 'cancel', controller, target, lun, tag, reason })
}

function query(nexus: ManagedNexus, tag: Tag | null): Promise<number> {
  const { controller, target, lun } = nexus
  return sum(nexus, { type: 'query', controller, target, lun, tag })
}

async function sum({ placement }: ManagedNexus, command: Parameters<IoThread['send']>[0]): Promise<number> {
  // What was in the ring of such a queue before the function came is to be found by it.
  while (placement.moving !== undefined) await placement.moving
  const counts = await Promise.all(placement.iothreads.map((iothread) => iothread.send(command)))
  return counts.reduce((total, count) => total + count, 0)
}
