import { socketPair } from 'memfd-mmap'
import { BackendSession, FrontEnd } from 'vhost-user-protocol-ts'
import { Controller } from '../../daemon/controller.js'
import type { ControllerConfig, LunConfig, LunPlace } from '../../daemon/daemon-config.js'
import { ForwardedCommands } from '../../daemon/forwarded-commands.js'
import { createLog } from '../../daemon/log.js'
import { Lun } from '../../daemon/lun.js'
import { IoThread, type IoThreadEvents } from '../../iothreads/index.js'
import { lunConfig } from './luns.js'
import type { Teardown } from './teardown.js'
import { Initiator, type InitiatorOptions } from './vhost/initiator.js'

const PATIENCE = 30_000

export interface ControllerBedOptions {
  readonly luns?: readonly Partial<LunConfig>[]
  readonly config?: Partial<ControllerConfig>
  /** IOThreads. Default 2. */
  readonly iothreads?: number
}

/** A controller of this process with some IOThreads; front ends come over socket pairs. */
export class ControllerBed {
  readonly controller: Controller
  readonly luns: readonly Lun[]
  readonly iothreads: readonly IoThread[]
  readonly faults: [index: number, code: string][] = []
  readonly failures: unknown[] = []
  /** All that share IOThreads and LUNs. */
  readonly #beds: ControllerBed[]

  private constructor(
    config: ControllerConfig,
    luns: readonly Lun[],
    iothreads: readonly IoThread[],
    beds: ControllerBed[],
  ) {
    this.luns = luns
    this.#beds = beds
    beds.push(this)
    this.iothreads = iothreads
    const ofQueues = config.queueToIothread.map((i) => iothreads[i]!)
    const ofPlaces = config.luns.map(({ id }) => luns.find((lun) => lun.config.id === id)!)
    this.controller = new Controller(config, ofQueues, ofPlaces, createLog({ level: 'silent', format: 'json' }), {
      fault: (index, code) => this.faults.push([index, code]),
      failed: (error) => this.failures.push(error),
    })
  }

  /** LUN i of the list is at target 0, LUN i. */
  static async start(
    t: Teardown,
    { luns = [{}], config = {}, iothreads: count = 2 }: ControllerBedOptions = {},
  ): Promise<ControllerBed> {
    const opened = luns.map((lun, i) => Lun.open(lunConfig({ id: `disk${i}`, ...lun })))
    const beds: ControllerBed[] = []
    const forwarded = new ForwardedCommands(
      (id, target, lun) => beds.find(({ controller }) => controller.id === id)?.controller.nexusAt(target, lun),
      (error) => beds[0]!.failures.push(error),
    )
    const events: IoThreadEvents = {
      fault: () => {},
      failed: () => {},
      mediumFault: () => {},
      forwarded: (task) => forwarded.forwarded(task),
      recalled: (task) => forwarded.recalled(task),
    }
    const iothreads: IoThread[] = []
    for (let i = 0; i < count; i++) iothreads.push(await IoThread.start({ id: `io${i}` }, events))
    const bed = new ControllerBed(
      {
        id: 'vm',
        numQueues: 4,
        queueToIothread: [0, 1, 0, 1],
        configSpace: false,
        luns: opened.map(({ config: { id, readOnly } }, lun) => ({ id, target: 0, lun, readOnly })),
        ...config,
      },
      opened,
      iothreads,
      beds,
    )
    await bed.controller.attach()
    t.teardown(async () => {
      await bed.controller.detach()
      for (const iothread of iothreads) await iothread.stop()
      for (const lun of opened) lun.close()
    })
    return bed
  }

  /** Another controller with LUNs and IOThreads of this one. */
  async beside(t: Teardown, id: string, luns: readonly LunPlace[]): Promise<ControllerBed> {
    const config = { id, numQueues: 4, queueToIothread: [1, 0, 1, 0], configSpace: false, luns }
    const bed = new ControllerBed(config, this.luns, this.iothreads, this.#beds)
    await bed.controller.attach()
    t.teardown(() => bed.controller.detach())
    return bed
  }

  /** A front end's end of a connection, and the session at the other. */
  #connection(): { front: number; session: BackendSession } {
    const [back, front] = socketPair()
    return { front, session: new BackendSession(back, this.controller) }
  }

  /** A front end without anything set up. */
  frontEnd(t: Teardown): FrontEnd {
    const { front, session } = this.#connection()
    const frontEnd = new FrontEnd(front)
    t.teardown(async () => {
      frontEnd.close()
      await session.closed
    })
    return frontEnd
  }

  async connect(
    t: Teardown,
    options: InitiatorOptions = {},
  ): Promise<{ initiator: Initiator; session: BackendSession }> {
    const { front, session } = this.#connection()
    const initiator = await Initiator.connect(front, { queues: 4, deadline: PATIENCE, ...options })
    t.teardown(async () => {
      await initiator.close()
      await session.closed
    })
    return { initiator, session }
  }
}
