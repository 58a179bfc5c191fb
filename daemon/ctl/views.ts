/** What ctl shows of the daemon's answers. */
import type { IothreadInfo, LunInfo, QueueInfo, QueueMove, StatusInfo } from '../control/target.js'
import { formatNumberList } from './number-list.js'
import { table } from './table.js'
import { formatBytes, formatNanoseconds, formatSeconds } from './units.js'

export function statusView(status: StatusInfo): string {
  const facts = table(
    ['version', status.version],
    [
      ['Node.js', status.node],
      ['process', `${status.pid}`],
      ['up', formatSeconds(status['uptime-seconds'])],
      ['ready', yesNo(status.ready)],
    ],
  )
  const controllers = table(
    ['CONTROLLER', 'CONNECTED', 'QUEUES', 'STARTED', 'ADDRESS'],
    status.controllers.map((each) => [
      each.id,
      yesNo(each.connected),
      each.queues,
      each['started-queues'],
      each.address,
    ]),
  )
  return `${facts}\n${controllers}`
}

export function iothreadsView(iothreads: readonly IothreadInfo[]): string {
  return table(
    [
      'IOTHREAD',
      'TID',
      'ENGINE',
      'CPUS',
      'POLL-MAX',
      'ORIGIN',
      'REQUESTS',
      'SLEEPS',
      'BEATS',
      'MISSED',
      'LAST',
      'QUEUES',
    ],
    iothreads.map((each) => [
      each.id,
      each.tid,
      each.engine,
      each.cpus === null ? 'any' : formatNumberList(each.cpus, '+'),
      each['poll-max-ns'] === 0 ? 'off' : formatNanoseconds(each['poll-max-ns']),
      each.origin,
      each.counters.requests,
      each.counters.sleeps,
      each.heartbeat.answered,
      each.heartbeat.missed,
      each.heartbeat['age-seconds'] === null ? '-' : formatNanoseconds(each.heartbeat['age-seconds'] * 1e9),
      placesOf(each.queues),
    ]),
  )
}

export function queuesView(queues: readonly QueueInfo[]): string {
  return table(
    [
      ...['CONTROLLER', 'QUEUE', 'IOTHREAD', 'TID', 'STARTED', 'SIZE', 'MOVES', 'KICKS', 'CALLS', 'BATCHES'],
      ...['REQUESTS', 'DATA', 'ERRORS', 'TARGETLESS', 'FAULTS'],
    ],
    queues.map(({ counters, ...each }) => [
      each.controller,
      each.queue,
      each.iothread,
      each.tid,
      yesNo(each.started),
      each.size ?? '-',
      each.moves,
      counters.kicks,
      counters.calls,
      counters.batches,
      counters.requests,
      formatBytes(counters.bytes),
      counters.errors,
      counters.targetless,
      counters.faults,
    ]),
  )
}

export function movesView(moves: readonly QueueMove[]): string {
  return table(
    ['CONTROLLER', 'QUEUE', 'FROM', 'TO', 'PAUSE'],
    moves.map((move) => [
      move.controller,
      move.queue,
      move.from,
      move.to,
      move['pause-ns'] === 0 ? '-' : formatNanoseconds(move['pause-ns']),
    ]),
  )
}

/** A LUN's places are CONTROLLER:TARGET:LUN. */
export function lunsView(luns: readonly LunInfo[]): string {
  return table(
    ['LUN', 'DRIVER', 'SIZE', 'BLOCK', 'ACCESS', 'WRITE-FAULT', 'PLACES', 'PATH'],
    luns.map((each) => [
      each.id,
      each.driver,
      formatBytes(each.size),
      each['block-size'],
      access(each['read-only']),
      yesNo(each['write-fault']),
      each.controllers.map(placeOf(each['read-only'])).join(' ') || '-',
      each.path ?? '-',
    ]),
  )
}

function placeOf(isReadOnly: boolean): (place: LunInfo['controllers'][number]) => string {
  return ({ controller, target, lun, 'read-only': readOnly }) =>
    `${controller}:${target}:${lun}${readOnly && !isReadOnly ? ' (read-only)' : ''}`
}

/** `vm:0-3,6 other:1` */
function placesOf(queues: IothreadInfo['queues']): string {
  const byController = new Map<string, number[]>()
  for (const { controller, queue } of queues) {
    byController.set(controller, [...(byController.get(controller) ?? []), queue])
  }
  const places = [...byController].map(([controller, numbers]) => `${controller}:${formatNumberList(numbers)}`)
  return places.join(' ') || '-'
}

function access(readOnly: boolean): string {
  return readOnly ? 'read-only' : 'read-write'
}

function yesNo(value: boolean): string {
  return value ? 'yes' : 'no'
}
