/** Task management functions (SAM-5 clause 7, virtio 1.3 5.6.6.2), over all IOThreads that may hold a task. */
import { RESPONSE, TMF } from 'vhost-user-protocol-ts'
import { CANCEL, type Command, type IoThread } from '../iothreads/index.js'
import { commandsCleared, nexusReset } from '../scsi/index.js'
import type { Epoch, TaskManagementRequest } from './control-queue.js'

/** What all controllers that have a LUN share. */
export interface ManagedUnit {
  /** One for each controller that is attached to its IOThreads. */
  readonly nexuses: ReadonlySet<ManagedNexus>
  /** LOGICAL UNIT RESET, after all tasks were aborted; resolves when all of its effects are there. `told`: who hears of it. */
  reset(told: readonly ManagedNexus[]): Promise<void>
  /** A nexus of its is lost. */
  lose(nexus: ManagedNexus): Promise<void>
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
  // Also of a target that is not there, as in QEMU: then no nexus is left to be reset.
  if (request.function === TMF.I_T_NEXUS_RESET) return resetNexuses(ofTarget, request)
  const perform = FUNCTIONS.get(request.function)
  if (perform === undefined) return RESPONSE.FUNCTION_REJECTED
  if (ofTarget.length === 0) return RESPONSE.BAD_TARGET
  const nexus = ofTarget.find(({ lun }) => lun === request.lun)
  return nexus === undefined ? RESPONSE.INCORRECT_LUN : perform(nexus, request)
}

/** Those of one logical unit. CLEAR ACA is not among them: no ACA is ever established (NormACA 0). */
const FUNCTIONS = new Map<number, (nexus: ManagedNexus, request: TaskManagementRequest) => Promise<number>>([
  [TMF.ABORT_TASK, (nexus, { tag, epoch }) => abort(nexus, tag, epoch)],
  [TMF.ABORT_TASK_SET, (nexus, { epoch }) => abort(nexus, null, epoch)],
  [TMF.CLEAR_TASK_SET, clearTaskSet],
  [TMF.LOGICAL_UNIT_RESET, resetUnit],
  [TMF.QUERY_TASK, (nexus, { tag }) => query(nexus, tag)],
  [TMF.QUERY_TASK_SET, (nexus) => query(nexus, null)],
])

/** SAM-5 7.2, 7.3: one task of this initiator, or all. */
async function abort(nexus: ManagedNexus, tag: Tag | null, epoch: Epoch): Promise<number> {
  await cancel(nexus, tag, CANCEL.ABORTED, () => epoch.over)
  return RESPONSE.OK
}

/** Ends all tasks of a nexus that its IOThreads know of, for another initiator; resolves with their number when they are answered. */
export function abortTasks(nexus: ManagedNexus): Promise<number> {
  const { controller, target, lun } = nexus
  return sum(nexus, { type: 'cancel', controller, target, lun, tag: null, reason: CANCEL.ABORTED })
}

/** SAM-5 7.9, 7.10: whether there is such a task of this initiator. */
async function query(nexus: ManagedNexus, tag: Tag | null): Promise<number> {
  const { controller, target, lun } = nexus
  const count = await tell(nexus, { type: 'query', controller, target, lun, tag }, () => false)
  return count > 0 ? RESPONSE.FUNCTION_SUCCEEDED : RESPONSE.OK
}

/** SAM-5 7.7: the tasks of this initiator alone, on all units of the target. */
async function resetNexuses(nexuses: readonly ManagedNexus[], { epoch }: TaskManagementRequest): Promise<number> {
  await Promise.all(nexuses.map((nexus) => cancel(nexus, null, CANCEL.RESET, () => epoch.over)))
  if (epoch.over) return RESPONSE.OK
  nexusReset(nexuses)
  await Promise.all(nexuses.map((nexus) => nexus.unit.lose(nexus)))
  return RESPONSE.OK
}

/** SAM-5 7.8: everybody's tasks, and everybody is told. */
async function resetUnit(nexus: ManagedNexus, { epoch }: TaskManagementRequest): Promise<number> {
  const { unit } = nexus
  const all = [...unit.nexuses]
  const over = (each: ManagedNexus): boolean => epoch.over && each.controller === nexus.controller
  await Promise.all(all.map((each) => cancel(each, null, CANCEL.RESET, () => over(each))))
  await unit.reset(all.filter((each) => !over(each)))
  return RESPONSE.OK
}

/** SAM-5 7.5: everybody's tasks; others who lost one are told, as TAS is 0 (SAM-5 5.6, SPC-4 7.5.8). */
async function clearTaskSet(nexus: ManagedNexus, { epoch }: TaskManagementRequest): Promise<number> {
  const all = [...nexus.unit.nexuses]
  const isOwn = (each: ManagedNexus): boolean => each.controller === nexus.controller
  const counts = await Promise.all(
    all.map((each) => cancel(each, null, CANCEL.ABORTED, () => epoch.over && isOwn(each))),
  )
  commandsCleared(all.filter((each, i) => !isOwn(each) && counts[i]! > 0))
  return RESPONSE.OK
}

type Tag = readonly [number, number]
type TaskCommand = Extract<Command, { type: 'cancel' | 'query' }>

/**
 * Ends matching tasks of a nexus in each IOThread; resolves with their number when all are answered.
 *
 * @param over whether commands that have not been seen by now are none of the function's business any more
 */
function cancel(nexus: ManagedNexus, tag: Tag | null, reason: number, over: () => boolean): Promise<number> {
  const { controller, target, lun } = nexus
  return tell(nexus, { type: 'cancel', controller, target, lun, tag, reason }, over)
}

/** Asks each IOThread, once where no queue is being moved. */
async function tell(nexus: ManagedNexus, command: TaskCommand, over: () => boolean): Promise<number> {
  const { placement } = nexus
  if (placement.moving === undefined) return sum(nexus, command)
  // A move waits for what is in flight, so that is not to wait for the move. What is in the ring is seen only afterwards.
  const inFlight = await sum(nexus, command)
  if (inFlight > 0 && (command.type === 'query' || command.tag !== null)) return inFlight
  while (placement.moving !== undefined) await placement.moving
  return over() ? inFlight : inFlight + (await sum(nexus, command))
}

async function sum(nexus: ManagedNexus, command: TaskCommand): Promise<number> {
  // Its controller may have been taken away meanwhile, and all of its tasks with it.
  if (!nexus.unit.nexuses.has(nexus)) return 0
  const counts = await Promise.all(nexus.placement.iothreads.map((iothread) => iothread.send(command)))
  return counts.reduce((total, count) => total + count, 0)
}
