/** Target ports: each controller is one. Its name and its number derive from the controller's id, so that a restart keeps them. */
import { createHash } from 'node:crypto'
import type { TargetPort } from '../scsi/index.js'

/** NAA 3h: locally assigned (SPC-5 7.7.6.5.4). */
const NAA_LOCALLY_ASSIGNED = '3'
const NAME_DIGITS = 15
const PORTS = 65535

/** The port of a controller alone. */
export function targetPort(controller: string): TargetPort {
  const digest = createHash('sha256').update(`target port\0${controller}`).digest('hex')
  return {
    relative: 1 + (Number.parseInt(digest.slice(-8), 16) % PORTS),
    name: NAA_LOCALLY_ASSIGNED + digest.slice(0, NAME_DIGITS),
  }
}

/** The ports of the controllers of one daemon, in their order: where two have the same number, the later one gets the next free. */
export function targetPorts(controllers: readonly string[]): TargetPort[] {
  const taken = new Set<number>()
  return controllers.map((controller) => {
    const port = targetPort(controller)
    let relative = port.relative
    while (taken.has(relative)) relative = 1 + (relative % PORTS)
    taken.add(relative)
    return { ...port, relative }
  })
}
