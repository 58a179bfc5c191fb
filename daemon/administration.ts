/** What the control API can do with a running daemon. */
import { type IoThread, THREAD_FIELD } from '../iothreads/index.js'
import { FIELD, OPERATION, QUEUE_FIELD, type QueueStatistics } from '../iothreads/statistics.js'
import { FLAG, MAX_LUN } from '../scsi/index.js'
import { resolveIothread } from './config.js'
import {
  ControlError,
  type ControlTarget,
  type IothreadInfo,
  type LunAttachment,
  type LunInfo,
  type LunPlaceInfo,
  type LunSize,
  type NewIothread,
  type QueueInfo,
  type QueueMove,
  REFUSALS,
  type RefusalCode,
  type StatusInfo,
  type StopInfo,
} from './control/target.js'
import type { Controller, ControllerQueue } from './controller.js'
import { errorCode } from './errors.js'
import type { IothreadPool, PooledIothread } from './iothread-pool.js'
import type { Log } from './log.js'
import type { Lun } from './lun.js'
import { refreshLun } from './lun-refresh.js'
import { daemonVersion } from './version.js'

/** A controller and where its front end comes from. */
export interface AdministeredController {
  readonly controller: Controller
  readonly address: string
  /** A front end is connected. */
  readonly connected: boolean
}

/** What there is to administer. */
export interface Administered {
  readonly iothreads: IothreadPool
  readonly luns: ReadonlyMap<string, Lun>
  controllers(): readonly AdministeredController[]
  readonly stopTimeoutSeconds: number
  /** The sockets can be connected to. */
  ready(): boolean
  /** Has the daemon end; resolves when it serves nothing any more: whether I/O is still in flight. */
  stop(): Promise<boolean>
}

export class Administration implements ControlTarget {
  readonly #daemon: Administered
  readonly #log: Log
  #stopping = false

  constructor(daemon: Administered, log: Log) {
    this.#daemon = daemon
    this.#log = log
  }

  status(): StatusInfo {
    return {
      version: daemonVersion(),
      node: process.version,
      pid: process.pid,
      'uptime-seconds': process.uptime(),
      ready: this.#daemon.ready(),
      'stop-timeout-seconds': this.#daemon.stopTimeoutSeconds,
      controllers: this.#daemon.controllers().map(({ controller, address, connected }) => ({
        id: controller.id,
        address,
        connected,
        queues: controller.queueCount,
        'started-queues': queuesOf(controller).filter(({ size }) => size !== undefined).length,
      })),
    }
  }

  async stop(): Promise<StopInfo> {
    if (this.#stopping) throw new ControlError('ESHUTDOWN', 'the daemon is stopping')
    if (!this.#daemon.ready()) throw new ControlError('EAGAIN', 'the daemon is still starting')
    this.#stopping = true
    this.#log.info('asked through the control socket to stop')
    return { 'in-flight': await this.#daemon.stop() }
  }

  iothreads(): IothreadInfo[] {
    return this.#daemon.iothreads.list().map((iothread) => this.#iothreadInfo(iothread))
  }

  #iothreadInfo({ id, tid, engine, config, origin, statistics, heartbeat }: PooledIothread): IothreadInfo {
    const iothread = this.#iothread(id)
    return {
      id,
      tid,
      engine,
      cpus: config.cpus === undefined ? null : [...config.cpus],
      'poll-max-ns': config.pollMaxNs,
      'poll-grow': config.pollGrow,
      'poll-shrink': config.pollShrink,
      origin,
      queues: this.#queuesOn(iothread),
      counters: {
        requests: statistics.read(THREAD_FIELD.REQUESTS),
        sleeps: statistics.read(THREAD_FIELD.SLEEPS),
        polls: statistics.read(THREAD_FIELD.POLLS),
        'poll-hits': statistics.read(THREAD_FIELD.POLL_HITS),
      },
      heartbeat: { answered: heartbeat.answered, missed: heartbeat.missed, 'age-seconds': heartbeat.ageSeconds },
    }
  }

  #queuesOn(iothread: IoThread): { controller: string; queue: number }[] {
    return this.#controllers.flatMap((controller) =>
      queuesOf(controller)
        .filter((each) => each.iothread === iothread)
        .map(({ queue }) => ({ controller: controller.id, queue })),
    )
  }

  queues(): QueueInfo[] {
    return this.#controllers.flatMap((controller) =>
      queuesOf(controller).map((queue) => queueInfo(controller.id, queue)),
    )
  }

  luns(): LunInfo[] {
    return [...this.#daemon.luns.values()].map(({ config, state }) => ({
      id: config.id,
      driver: config.driver,
      path: config.path ?? null,
      size: state.capacity * config.blockSize,
      'block-size': config.blockSize,
      'read-only': config.readOnly,
      'write-fault': (state.flags & FLAG.WRITE_FAULT) !== 0,
      controllers: this.#controllers.flatMap((controller) =>
        controller.luns
          .filter(({ id }) => id === config.id)
          .map(({ target, lun, readOnly }) => ({ controller: controller.id, target, lun, 'read-only': readOnly })),
      ),
    }))
  }

  async addIothread(settings: NewIothread): Promise<IothreadInfo> {
    const { id, ...rest } = settings
    const added = await this.#daemon.iothreads
      .add({ ...(id !== undefined && { id }), ...resolveIothread(rest) })
      .catch(refuse)
    this.#log.info({ iothread: added }, `IOThread ${added} added`)
    return this.#iothreadInfo(this.#daemon.iothreads.list().find((each) => each.id === added)!)
  }

  async freeIothread(id: string): Promise<void> {
    const queues = this.#queuesOn(this.#iothread(id))
    if (queues.length > 0) {
      const [{ controller, queue }] = queues as [(typeof queues)[0]]
      throw new ControlError(
        'EBUSY',
        `iothread "${id}" serves ${queues.length} queues, such as queue ${queue} of controller "${controller}"`,
      )
    }
    await this.#daemon.iothreads.remove(id).catch(refuse)
    this.#log.info({ iothread: id }, `IOThread ${id} freed`)
  }

  async attachQueue(id: string, queue: number, iothread: string): Promise<QueueMove> {
    const controller = this.#controllerWith(id, queue)
    const to = this.#iothread(iothread)
    const from = controller.queue(queue).iothread.id
    const pause = await controller.moveQueue(queue, to)
    this.#log.info({ controller: id, queue, iothread }, `queue ${queue} moved from IOThread ${from} to ${iothread}`)
    return { controller: id, queue, from, to: iothread, 'pause-ns': pause }
  }

  queue(id: string, queue: number): QueueInfo {
    return queueInfo(id, this.#controllerWith(id, queue).queue(queue))
  }

  async clearFault(id: string): Promise<void> {
    const { state } = this.#lun(id)
    if ((state.flags & FLAG.WRITE_FAULT) === 0) return
    state.clear(FLAG.WRITE_FAULT)
    this.#log.warn({ lun: id }, `lun "${id}": the fault of a failed flush was cleared, it takes writes again`)
  }

  async refreshLun(id: string): Promise<LunSize> {
    try {
      return refreshLun(this.#lun(id), this.#log)
    } catch (error) {
      return refuse(error)
    }
  }

  async attachLun(id: string, attachment: LunAttachment): Promise<LunPlaceInfo> {
    const controller = this.#controller(id)
    const lun = this.#lun(attachment.id)
    const target = attachment.target ?? 0
    const place = {
      id: attachment.id,
      target,
      lun: attachment.lun ?? freeLun(controller, target),
      readOnly: (attachment['read-only'] ?? false) || lun.config.readOnly,
    }
    await controller.attachLun(lun, place).catch(refuse)
    return { controller: id, id: place.id, target, lun: place.lun, 'read-only': place.readOnly }
  }

  async detachLun(id: string, lun: string): Promise<void> {
    await this.#controller(id).detachLun(lun).catch(refuse)
  }

  get #controllers(): Controller[] {
    return this.#daemon.controllers().map(({ controller }) => controller)
  }

  #controller(id: string): Controller {
    const found = this.#controllers.find((controller) => controller.id === id)
    if (found === undefined) throw new ControlError('ENOENT', `controller "${id}" does not exist`)
    return found
  }

  #controllerWith(id: string, queue: number): Controller {
    const found = this.#controller(id)
    if (queue < found.queueCount) return found
    throw new ControlError(
      'ENOBUFS',
      `controller "${id}" has no queue ${queue}: expected a request queue from 0 to ${found.queueCount - 1}`,
    )
  }

  #iothread(id: string): IoThread {
    const found = this.#daemon.iothreads.get(id)
    if (found === undefined) throw new ControlError('ENODEV', `iothread "${id}" does not exist`)
    return found
  }

  #lun(id: string): Lun {
    const found = this.#daemon.luns.get(id)
    if (found === undefined) throw new ControlError('ENOENT', `lun "${id}" does not exist`)
    return found
  }
}

/** The lowest LUN number of a target that nothing has. */
function freeLun(controller: Controller, target: number): number {
  const taken = new Set(controller.luns.filter((place) => place.target === target).map(({ lun }) => lun))
  let free = 0
  while (taken.has(free)) free++
  if (free <= MAX_LUN) return free
  throw new ControlError('EINVAL', `target ${target} of controller "${controller.id}" has no free LUN number`)
}

function queuesOf(controller: Controller): ControllerQueue[] {
  return Array.from({ length: controller.queueCount }, (_, queue) => controller.queue(queue))
}

function queueInfo(controller: string, { queue, iothread, size, moves, statistics }: ControllerQueue): QueueInfo {
  return {
    controller,
    queue,
    iothread: iothread.id,
    tid: iothread.tid,
    started: size !== undefined,
    size: size ?? null,
    moves,
    counters: counters(statistics),
  }
}

function counters(statistics: QueueStatistics | undefined): QueueInfo['counters'] {
  const read = (field: number): number => statistics?.readQueue(field) ?? 0
  return {
    kicks: read(QUEUE_FIELD.KICKS),
    calls: read(QUEUE_FIELD.CALLS),
    batches: read(QUEUE_FIELD.BATCHES),
    requests: statistics?.total(FIELD.REQUESTS) ?? 0,
    bytes: statistics?.total(FIELD.BYTES, [OPERATION.READ, OPERATION.WRITE]) ?? 0,
    errors: statistics?.total(FIELD.ERRORS) ?? 0,
    targetless: read(QUEUE_FIELD.TARGETLESS),
    faults: statistics?.faults ?? 0,
  }
}

/** Refusals whose codes are not of the API. */
const SAME_AS: Readonly<Record<string, RefusalCode>> = { VUS_IMAGE_LOCKED: 'EBUSY' }

/** A refusal as the API tells it; what is none goes on as it is. */
function refuse(error: unknown): never {
  const own = errorCode(error)
  const code = SAME_AS[own] ?? own
  if (!(code in REFUSALS)) throw error
  throw new ControlError(code as RefusalCode, (error as Error).message, { cause: error })
}
