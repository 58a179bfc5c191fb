import { assignQueues, MappingError, mappedQueueCount } from '../iothreads/queue-mapping.js'
import {
  type ControllerSettings,
  type LunPlaceSettings,
  type LunSettings,
  MAX_LUN,
  MAX_QUEUES,
} from './config-schema.js'
import type { ControllerConfig, LunConfig, LunPlace } from './daemon-config.js'
import { resolveGroup } from './socket-group.js'
import { socketPathFault } from './socket-path.js'
import { targetPorts } from './target-ports.js'

export const DEFAULT_SOCKET_PATH = './vhost-user-scsi.sock'
export const DEFAULT_NUM_QUEUES = 64

/** What a controller's references are resolved against. */
export interface Scope {
  /** All IOThreads, in the order that indices mean. */
  readonly iothreadIds: readonly string[]
  /** Those for controllers that name none. */
  readonly sharedIothreadIds: readonly string[]
  readonly luns: readonly LunConfig[]
  /** The LUNs as they were configured, for the places they ask for. */
  readonly lunSettings: readonly (LunSettings & { id: string })[]
}

export type NamedController = ControllerSettings & { readonly id: string }

/** Names the controllers that have no id: controller0, controller1 ... */
export function nameControllers(controllers: readonly ControllerSettings[]): NamedController[] {
  const taken = new Set(controllers.map(({ id }) => id))
  let next = 0
  return controllers.map((controller) => {
    if (controller.id !== undefined) return { ...controller, id: controller.id }
    while (taken.has(`controller${next}`)) next++
    return { ...controller, id: `controller${next++}` }
  })
}

/** The IOThreads that worker-per-virtqueue stands for: one for each request queue. */
export function workerIds(controller: NamedController): string[] {
  if (controller['worker-per-virtqueue'] !== true) return []
  return Array.from(
    { length: controller['num-queues'] ?? DEFAULT_NUM_QUEUES },
    (_, queue) => `${controller.id}-vq${queue}`,
  )
}

/** Checks the controllers and fills in their defaults; faults are added to `faults`. */
export function resolveControllers(
  controllers: readonly NamedController[],
  scope: Scope,
  faults: string[],
): ControllerConfig[] {
  checkUnique(controllers, faults)
  const ports = targetPorts(controllers.map(({ id }) => id))
  const resolved = controllers.map((controller, i) => {
    const report = (fault: string) => {
      faults.push(`controller "${controller.id}": ${fault}`)
    }
    return {
      id: controller.id,
      port: ports[i]!,
      ...resolveSocket(controller, report),
      ...resolveQueues(controller, scope, report),
      configSpace: controller['config-space'] ?? false,
      luns: resolvePlaces(controller, scope, report),
    }
  })
  checkWriters(resolved, scope.luns, faults)
  return resolved
}

type Report = (fault: string) => void

function checkUnique(controllers: readonly NamedController[], faults: string[]): void {
  const seen = new Set<string>()
  const check = (key: string, fault: string) => {
    if (seen.has(key)) faults.push(fault)
    seen.add(key)
  }
  for (const { id, fd, 'socket-path': path } of controllers) {
    check(`id ${id}`, `controller id "${id}" is used twice`)
    if (path !== undefined) check(`path ${path}`, `controller "${id}": ${path}: is the socket of another controller`)
    if (fd !== undefined) check(`fd ${fd}`, `controller "${id}": fd ${fd} belongs to another controller`)
  }
}

function resolveSocket(
  controller: NamedController,
  report: Report,
): Pick<ControllerConfig, 'socketPath' | 'fd' | 'socketMode' | 'socketGid'> {
  const { fd, 'socket-path': path, 'socket-mode': mode, 'socket-group': group } = controller
  if (fd !== undefined) {
    if (path !== undefined) report('socket-path and fd cannot be set at the same time')
    if (mode !== undefined || group !== undefined) report('socket-mode and socket-group have no meaning with fd')
    return { fd }
  }
  const socketPath = path ?? DEFAULT_SOCKET_PATH
  const fault = socketPathFault(socketPath)
  if (fault !== undefined) report(fault)
  const socketGid = group === undefined ? undefined : resolveGroup(group)
  if (group !== undefined && socketGid === undefined) report(`no such group: ${group}`)
  return {
    socketPath,
    ...(mode !== undefined && { socketMode: mode }),
    ...(socketGid !== undefined && { socketGid }),
  }
}

function resolveQueues(
  controller: NamedController,
  scope: Scope,
  report: Report,
): Pick<ControllerConfig, 'numQueues' | 'queueToIothread'> {
  const { iothread, 'iothread-vq-mapping': mapping, 'num-queues': asked } = controller
  const workers = workerIds(controller)
  const fixed = asked ?? (mapping && mappedQueueCount(mapping))
  const numQueues = Math.min(fixed ?? DEFAULT_NUM_QUEUES, MAX_QUEUES)
  if (iothread !== undefined && mapping !== undefined) {
    report('iothread and iothread-vq-mapping properties cannot be set at the same time')
  } else if (workers.length > 0 && (iothread !== undefined || mapping !== undefined)) {
    report('worker-per-virtqueue cannot be set together with iothread or iothread-vq-mapping')
  }
  try {
    const own = iothread === undefined ? workers : [iothread]
    const roundRobin = (own.length > 0 ? own : scope.sharedIothreadIds).map((id) => ({ iothread: id }))
    return { numQueues, queueToIothread: assignQueues(mapping ?? roundRobin, scope.iothreadIds, numQueues) }
  } catch (error) {
    if (!(error instanceof MappingError)) throw error
    report(error.message)
    return { numQueues, queueToIothread: [] }
  }
}

/**
 * The controller's LUNs and their addresses. Without a list it has all of them. Addresses that are asked for come first,
 * the others take the lowest free LUN of their target.
 */
function resolvePlaces(controller: NamedController, scope: Scope, report: Report): LunPlace[] {
  const settingsOf = new Map(scope.lunSettings.map((lun) => [lun.id, lun]))
  const configOf = new Map(scope.luns.map((lun) => [lun.id, lun]))
  const entries: readonly LunPlaceSettings[] = controller.luns ?? [...settingsOf.keys()].map((id) => ({ id }))
  const members = entries.flatMap((entry) => {
    const settings = settingsOf.get(entry.id)
    if (settings === undefined) {
      report(`LUN "${entry.id}" does not exist`)
      return []
    }
    return [
      {
        id: entry.id,
        target: entry.target ?? settings.target ?? 0,
        lun: entry.lun ?? settings.lun,
        readOnly: (entry['read-only'] ?? false) || (configOf.get(entry.id)?.readOnly ?? false),
      },
    ]
  })
  const taken = new Map<string, string>()
  const ids = new Set<string>()
  for (const { id, target, lun } of members) {
    if (ids.has(id)) report(`LUN "${id}" is listed twice`)
    ids.add(id)
    if (lun === undefined) continue
    const other = taken.get(`${target}:${lun}`)
    if (other === undefined) taken.set(`${target}:${lun}`, id)
    else report(`target ${target} lun ${lun} is given to both LUN "${other}" and LUN "${id}"`)
  }
  return members.map(({ lun, ...member }) => {
    if (lun !== undefined) return { ...member, lun }
    let free = 0
    while (taken.has(`${member.target}:${free}`)) free++
    if (free > MAX_LUN) report(`target ${member.target} has no free LUN number for LUN "${member.id}"`)
    taken.set(`${member.target}:${free}`, member.id)
    return { ...member, lun: free }
  })
}

/** A LUN may have any number of readers, but one controller that writes, unless its guests are said to share it. */
function checkWriters(controllers: readonly ControllerConfig[], luns: readonly LunConfig[], faults: string[]): void {
  const shared = new Set(luns.filter(({ shareRw }) => shareRw).map(({ id }) => id))
  const writers = new Map<string, string>()
  for (const { id, luns: places } of controllers) {
    for (const place of places) {
      if (place.readOnly || shared.has(place.id)) continue
      const other = writers.get(place.id)
      if (other === undefined) writers.set(place.id, id)
      else if (other !== id) {
        faults.push(
          `LUN "${place.id}": both controller "${other}" and controller "${id}" could write to it, ` +
            'expected share-rw=on, or read-only=on for all but one',
        )
      }
    }
  }
}
