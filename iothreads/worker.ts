/** Entry point of an IOThread's worker_thread. */

import { type MessagePort, parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads'
import { clockMonotonicNs, ERRNO, getAffinity, gettid, SystemError, setAffinity, setThreadName } from 'memfd-mmap'
import { INFLIGHT_UNUSABLE } from 'vhost-user-protocol-ts'
import { BouncePool } from './bounce-pool.js'
import type { DelayLine } from './delay-line.js'
import { Doorbells } from './doorbells.js'
import type { Driver } from './drivers/driver.js'
import { Forwarding, type ForwardingMessages } from './forwarding.js'
import { takeOver } from './inflight.js'
import { IoLoop, type LoopClient } from './io-loop.js'
import { MediumJobs } from './medium-jobs.js'
import type { Command, CommandMessage, Medium, QueueSpec, Report, WorkerData } from './messages.js'
import { openVirtqueue } from './open-virtqueue.js'
import type { Request } from './request.js'
import { RequestLog } from './request-log.js'
import { RequestQueue } from './request-queue.js'
import { RequestReader } from './request-reader.js'
import { RequestTable } from './request-table.js'
import { ResponseWriter } from './response-writer.js'
import { dirtyLog } from './ring-log.js'
import { QueueStatistics } from './statistics.js'
import { SyncIo } from './sync-io.js'
import { TaskFunctions } from './task-functions.js'
import { createDriver, type DriverParts, WorkerController } from './worker-controller.js'
import { WriteGates } from './write-gates.js'

/** At most one report of a guest's faults per queue in this time, ns. */
const FAULT_INTERVAL = 1e9

interface Stopping {
  readonly id: number
  readonly controller: WorkerController
  readonly index: number
  readonly queue: RequestQueue
}

class IoThreadWorker implements LoopClient {
  readonly #port: MessagePort
  readonly #controllers = new Map<string, WorkerController>()
  readonly #kicks = new Map<RequestQueue, number>()
  readonly #inlineIo = new SyncIo()
  readonly #pool = new BouncePool()
  readonly #loop: IoLoop
  readonly #functions: TaskFunctions
  readonly #gates: WriteGates<Request>
  readonly #jobs: MediumJobs
  #stopping: Stopping[] = []
  #delayLines: DelayLine[] = []
  /** The id of `stop`, when it has come. */
  #lastCommand: number | undefined

  constructor(port: MessagePort, options: WorkerData) {
    this.#port = port
    this.#loop = new IoLoop(options, this)
    this.#gates = new WriteGates(new Doorbells(options.bell), options.row, (request) => this.#loop.admitted(request.id))
    const ended = (id: number, value: number): void => this.#report({ type: 'reply', id, value })
    this.#functions = new TaskFunctions(this.#loop.engine, ended)
    const driver = (medium: Medium): Driver => createDriver(undelayed(medium), this.#driverParts)
    this.#jobs = new MediumJobs({ driver, pool: this.#pool, gates: this.#gates, ended })
  }

  run(): void {
    const { engine, engineFault } = this.#loop
    this.#report({ type: 'ready', tid: gettid(), engine: engine.name, engineFault })
    this.#loop.run()
    if (this.#loop.abandoned) return
    this.#jobs.release()
    this.#pool.release()
    this.#inlineIo.close()
    engine.close()
  }

  #report(report: Report): void {
    this.#port.postMessage(report)
  }

  messages(): void {
    for (let received = receiveMessageOnPort(this.#port); received; received = receiveMessageOnPort(this.#port)) {
      const message = received.message as CommandMessage
      try {
        const value = this.#execute(message.id, message)
        if (value !== undefined) this.#report({ type: 'reply', id: message.id, value })
      } catch (error) {
        this.#report({ type: 'error', id: message.id, message: (error as Error).message })
      }
    }
  }

  /** Carries out a command. undefined: its reply comes later. */
  #execute(id: number, command: Command): number | undefined {
    switch (command.type) {
      case 'attachController': {
        if (this.#controllers.has(command.controller)) throw new Error(`controller ${command.controller} is attached`)
        const forwarding = new Forwarding(command.controller, this.#forwardingMessages)
        const controller = new WorkerController(command.units, this.#driverParts, forwarding)
        this.#controllers.set(command.controller, controller)
        this.#collectDelayLines()
        return 0
      }
      case 'detachController':
        this.#controller(command.controller).close(this.#driverParts)
        this.#controllers.delete(command.controller)
        this.#collectDelayLines()
        return 0
      case 'setUnits':
        this.#controller(command.controller).setUnits(command.units, this.#driverParts)
        this.#collectDelayLines()
        return 0
      case 'setMemory':
        this.#controller(command.controller).setMemory(command.regions)
        return 0
      case 'startQueue':
        return this.#startQueue(command.controller, command.queue)
      case 'stopQueue':
        this.#stopQueue(id, command.controller, command.index)
        return undefined
      case 'setCall':
        this.#queue(command.controller, command.index).callFd = command.callFd
        return 0
      case 'setErr':
        this.#queue(command.controller, command.index).errFd = command.errFd
        return 0
      case 'cancel':
        this.#functions.cancel(id, this.#controller(command.controller), command, command.reason)
        this.#gates.endCancelled((request) => this.#ended(request, -ERRNO.ECANCELED))
        return undefined
      case 'query':
        this.#functions.query(id, this.#controller(command.controller), command)
        return undefined
      case 'conclude':
        this.#controllers.get(command.controller)?.forwarding.conclude(command.ticket, command.answer)
        return 0
      case 'fence':
        this.#functions.fence(id, this.#controller(command.controller), { ...command, tag: null })
        return undefined
      case 'job':
        this.#jobs.start(id, command.job)
        return undefined
      case 'letGo':
        this.#jobs.letGo(command.key)
        return 0
      case 'stop':
        this.#lastCommand = id
        return undefined
    }
  }

  get #driverParts(): DriverParts {
    return { engine: this.#loop.engine, inlineIo: this.#inlineIo, ended: this.#ended, gates: this.#gates }
  }

  readonly #forwardingMessages: ForwardingMessages = {
    forward: (command) => {
      this.#port.postMessage({ type: 'forward', ...command } satisfies Report, [
        command.cdb.buffer,
        command.parameters.buffer,
      ])
    },
    recall: (name) => this.#report({ type: 'recall', ...name }),
  }

  #controller(id: string): WorkerController {
    const controller = this.#controllers.get(id)
    if (controller === undefined) throw new Error(`no controller ${id}`)
    return controller
  }

  #queue(id: string, index: number): RequestQueue {
    const queue = this.#controller(id).queues.get(index)
    if (queue === undefined) throw new Error(`no queue ${index} of controller ${id}`)
    return queue
  }

  /** 0, or INFLIGHT_UNUSABLE. */
  #startQueue(id: string, spec: QueueSpec): number {
    const controller = this.#controller(id)
    if (controller.queues.has(spec.index)) throw new Error(`queue ${spec.index} of controller ${id} is started`)
    const { memory, units } = controller
    const takeover = takeOver(spec)
    if (takeover === INFLIGHT_UNUSABLE) return INFLIGHT_UNUSABLE
    const slot = this.#loop.freeSlot()
    const log = spec.log === undefined ? null : dirtyLog(spec.log)
    const virtqueue = openVirtqueue(spec, memory, takeover?.base, log)
    const table = new RequestTable(slot, spec.size)
    const queue = new RequestQueue({
      slot,
      virtqueue,
      memory,
      table,
      reader: new RequestReader(memory, virtqueue, table, spec.indirect),
      recoveryReader: takeover && new RequestReader(memory, takeover.ring ?? virtqueue, table, spec.indirect),
      writer: new ResponseWriter(memory),
      units,
      pool: this.#pool,
      statistics: new QueueStatistics(units.bindings.length, spec.statistics),
      threadStatistics: this.#loop.statistics,
      forwarding: controller.forwarding,
      callFd: spec.callFd,
      errFd: spec.errFd,
      takeover,
      log: log && new RequestLog(log, memory, table.segments),
      fault: this.#faultReporter(id, spec.index),
      mediumFault: (unit, errno) => this.#report({ type: 'mediumFault', controller: id, unit, errno }),
    })
    try {
      this.#loop.add(queue, spec.kickFd)
    } catch (error) {
      table.release()
      throw error
    }
    controller.queues.set(spec.index, queue)
    this.#kicks.set(queue, spec.kickFd)
    return 0
  }

  #faultReporter(controller: string, index: number): (code: string, fatal: boolean) => void {
    let last = Number.NEGATIVE_INFINITY
    let suppressed = 0
    return (code, fatal) => {
      const now = clockMonotonicNs()
      if (!fatal && now - last < FAULT_INTERVAL) {
        suppressed++
        return
      }
      this.#report({ type: 'fault', controller, index, code, fatal, suppressed })
      last = now
      suppressed = 0
    }
  }

  #stopQueue(id: number, controllerId: string, index: number): void {
    const controller = this.#controller(controllerId)
    const queue = this.#queue(controllerId, index)
    if (this.#stopping.some((each) => each.queue === queue)) throw new Error(`queue ${index} is being stopped`)
    queue.stopFetching()
    this.#loop.release(queue, this.#kicks.get(queue)!)
    this.#stopping.push({ id, controller, index, queue })
  }

  /** A driver that held a request back has ended it. */
  readonly #ended = (request: Request, result: number): void => this.#loop.completed(request.id, result)

  gatesRang(): void {
    this.#gates.rang()
  }

  runGates(): void {
    this.#gates.run()
  }

  settle(): void {
    this.#functions.settle()
    if (this.#lastCommand !== undefined && this.#jobs.idle) this.#end(this.#lastCommand)
    if (this.#stopping.length > 0) {
      const done = this.#stopping.filter(({ queue }) => this.#loop.released(queue))
      this.#stopping = this.#stopping.filter((each) => !done.includes(each))
      for (const each of done) this.#stopped(each)
    }
  }

  #end(id: number): void {
    this.#loop.stopped = true
    this.#report({ type: 'reply', id, value: 0 })
  }

  jobCompleted(slot: number, result: number): void {
    this.#jobs.completed(slot, result)
  }

  jobAdmitted(slot: number): void {
    this.#jobs.admitted(slot)
  }

  #stopped({ id, controller, index, queue }: Stopping): void {
    this.#loop.remove(queue)
    this.#kicks.delete(queue)
    controller.queues.delete(index)
    queue.table.release()
    this.#report({ type: 'reply', id, value: queue.virtqueue.base })
  }

  pollDrivers(): void {
    const lines = this.#delayLines
    if (lines.length === 0) return
    const now = clockMonotonicNs()
    for (let i = 0; i < lines.length; i++) lines[i]!.poll(now)
  }

  nextDeadline(): number {
    const lines = this.#delayLines
    let next = Number.POSITIVE_INFINITY
    for (let i = 0; i < lines.length; i++) next = Math.min(next, lines[i]!.deadline)
    return next
  }

  #collectDelayLines(): void {
    this.#delayLines = [...this.#controllers.values()].flatMap((controller) => controller.delayLines)
  }
}

/** A job does not wait where a null disk has a guest's requests wait. */
function undelayed(medium: Medium): Medium {
  return medium.kind === 'null' ? { ...medium, delayNs: 0 } : medium
}

/** Binds this thread to all of the CPUs; the kernel by itself is content with those that are there. */
function bind(cpus: readonly number[]): void {
  setAffinity(gettid(), cpus)
  const allowed = getAffinity(gettid())
  const missing = cpus.filter((cpu) => !allowed.includes(cpu))
  if (missing.length > 0) throw new SystemError('sched_setaffinity', ERRNO.EINVAL, `no CPU ${missing.join(', ')}`)
}

const options = workerData as WorkerData
setThreadName(options.name)
if (options.cpus !== null) bind(options.cpus)
new IoThreadWorker(parentPort!, options).run()
