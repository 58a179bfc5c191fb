/** What commands of a unit's server do outside of it: to IOThreads, to the medium, to drivers. */
import { fdatasync } from 'node:fs'
import { copyRange } from 'memfd-mmap'
import { EVENT_TYPE } from 'vhost-user-protocol-ts'
import type { MediumJob } from '../iothreads/index.js'
import { FLAG, type UnitNexus } from '../scsi/index.js'
import type { Lun, LunNexus } from './lun.js'
import { eventReason } from './lun-refresh.js'
import { abortTasks } from './task-manager.js'
import type { PerformedEffect } from './unit-executor.js'

/** Carries out an effect that a command of `nexus` has; resolves with its result: a number >= 0, or -errno. */
export async function performEffect(lun: Lun, effect: PerformedEffect, nexus: UnitNexus): Promise<number> {
  switch (effect.type) {
    case 'fence':
      return fence(lun)
    case 'persist':
      return lun.keep()
    case 'flush':
      return flush(lun)
    case 'abort':
      return abort(lun, effect.nexuses, nexus)
    case 'announce':
      for (const each of membersOf(lun, effect.nexuses))
        each.announce(EVENT_TYPE.PARAM_CHANGE, eventReason(effect.attention))
      return 0
    case 'copy':
      return copy(lunNexus(effect.source), lunNexus(effect.destination), effect)
    case 'zero':
      return work(lunNexus(nexus), { ...effect, deallocate: lun.unit.discard })
    case 'fill':
      return work(lunNexus(nexus), effect)
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

/** What the server of a unit here knows as a nexus. */
function lunNexus(nexus: UnitNexus): LunNexus {
  return nexus as LunNexus
}

type Work = MediumJob extends infer J ? (J extends MediumJob ? Omit<J, 'medium' | 'gate'> : never) : never

/** Has an IOThread of the nexus's controller work on its medium. */
function work({ placement, unit }: LunNexus, what: Work): Promise<number> {
  const gate = { memory: unit.gate, reads: unit.unit.atomicWrites === true }
  return placement.iothreads[0]!.send({ type: 'job', job: { ...what, medium: unit.medium, gate } })
}

/** Within the kernel where both are files and their file systems do that, which may share blocks; else through an IOThread. */
async function copy(
  { unit: source }: LunNexus,
  destination: LunNexus,
  { sourceOffset, offset, length }: { sourceOffset: number; offset: number; length: number },
): Promise<number> {
  const done = await copyWithinKernel(source, destination, sourceOffset, offset, length)
  if (done === length) return length
  const rest = { offset: offset + done, length: length - done }
  const from = { source: source.medium, sourceOffset: sourceOffset + done }
  const result = await work(destination, { type: 'copy', ...from, ...rest })
  return result < 0 ? result : length
}

let holds = 0

/** How many bytes it could copy, from the first one on. */
async function copyWithinKernel(
  { medium: from }: Lun,
  destination: LunNexus,
  sourceOffset: number,
  offset: number,
  length: number,
): Promise<number> {
  const { medium: to } = destination.unit
  if (from.kind !== 'file' || to.kind !== 'file' || from.fd === to.fd) return 0
  const [iothread] = destination.placement.iothreads
  const key = ++holds
  await work(destination, { type: 'hold', key, offset, length })
  try {
    let done = 0
    for (let copied = 1; copied > 0 && done < length; done += Math.max(copied, 0)) {
      copied = await copyRange(from.fd, sourceOffset + done, to.fd, offset + done, length - done)
    }
    return done
  } finally {
    await iothread!.send({ type: 'letGo', key })
  }
}

/** fdatasync on one of Node's own threads. One that fails is a failed flush like any other: the unit takes no writes any more. */
export async function flush({ medium, state }: Lun): Promise<number> {
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
