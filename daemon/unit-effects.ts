/** What commands of a unit's server do outside of it: to IOThreads, to the medium, to drivers. */
import { fdatasync } from 'node:fs'
import { EVENT_TYPE } from 'vhost-user-protocol-ts'
import { type Effect, FLAG, type UnitNexus } from '../scsi/index.js'
import type { Lun, LunNexus } from './lun.js'
import { eventReason } from './lun-refresh.js'
import { abortTasks } from './task-manager.js'

/** Carries out an effect that a command of `nexus` has; resolves with its result: a number >= 0, or -errno. */
export async function performEffect(lun: Lun, effect: Effect, nexus: UnitNexus): Promise<number> {
  switch (effect.type) {
    case 'fence':
      return fence(lun)
    case 'flush':
      return flush(lun)
    case 'abort':
      return abort(lun, effect.nexuses, nexus)
    case 'announce':
      for (const each of membersOf(lun, effect.nexuses))
        each.announce(EVENT_TYPE.PARAM_CHANGE, eventReason(effect.attention))
      return 0
  }
}

function membersOf(lun: Lun, nexuses: readonly UnitNexus[]): LunNexus[] {
  return [...lun.nexuses].filter((each) => nexuses.includes(each))
}

/** Asks each IOThread that has the LUN: what is new to one that gets a queue only now has been seen by that queue. */
async function fence({ nexuses }: Lun): Promise<number> {
  await Promise.all(
    [...nexuses].flatMap(({ controller, placement, target, lun }) =>
      placement.iothreads.map((iothread) => iothread.send({ type: 'fence', controller, target, lun })),
    ),
  )
  return 0
}

/** fdatasync on one of Node's own threads. One that fails is a failed flush like any other: the unit takes no writes any more. */
async function flush({ medium, state }: Lun): Promise<number> {
  if (medium.kind !== 'file') return 0
  const result = await new Promise<number>((resolve) => {
    fdatasync(medium.fd, (error) => resolve(error === null ? 0 : (error.errno ?? -1)))
  })
  if (result < 0) state.set(FLAG.WRITE_FAULT)
  return result
}

/** The command that asks is not among those that end. */
async function abort(lun: Lun, nexuses: readonly UnitNexus[], own: UnitNexus): Promise<number> {
  const counts = await Promise.all(
    membersOf(lun, nexuses)
      .filter((each) => each !== own)
      .map((each) => abortTasks(each)),
  )
  return counts.reduce((total, count) => total + count, 0)
}
