import {
  ACTION,
  complete,
  DIRECTION,
  type Effect,
  type Effects,
  MAX_PARAMETER_BYTES,
  parameterListLength,
  Task,
} from '../../../scsi/index.js'
import { bytes, hex } from './hex.js'
import type { Medium } from './medium.js'

export interface Reply {
  readonly status: number
  readonly senseCode: number
  /** Hex. */
  readonly sense: string
  /** Data-in that was moved, in hex. */
  readonly data: string
  readonly dataIn: Uint8Array
  readonly overrun: boolean
  /** What is left of the buffer of the command's direction. */
  readonly residual: number
}

export interface Buffers {
  readonly out?: Uint8Array | string
  readonly in?: number
}

/** The server of a unit, as one of its nexuses sees it: executes what `execute` leaves to it. */
export type Serve = (task: Task) => Effects | null

/** A transport and its initiator in one: sends commands to `execute` and runs what they ask for on a medium. */
export class Initiator {
  readonly task = new Task()
  readonly #execute: (task: Task) => void
  readonly #medium: Medium
  readonly #serve: Serve | undefined
  /** The effects that forwarded commands have had. */
  readonly effects: Effect[] = []
  /** errno for each effect of a type. */
  readonly faults = new Map<string, number>()
  readonly #parameters = new Uint8Array(MAX_PARAMETER_BYTES)

  constructor(execute: (task: Task) => void, medium: Medium, serve?: Serve) {
    this.#execute = execute
    this.#medium = medium
    this.#serve = serve
  }

  /** Runs a command; buffers default to no data-out and 65536 bytes for data-in. */
  send(cdb: Uint8Array | string, buffers: Buffers = {}): Reply {
    const task = this.task
    const out = typeof buffers.out === 'string' ? bytes(buffers.out) : (buffers.out ?? new Uint8Array(0))
    const dataIn = new Uint8Array(buffers.in ?? 65536)
    task.cdbBytes.fill(0)
    task.cdbBytes.set(typeof cdb === 'string' ? bytes(cdb) : cdb)
    task.dataOutLength = out.length
    task.dataInLength = dataIn.length
    const gathered = parameterListLength(task)
    if (gathered > 0) {
      // The transport's buffer is one for all: what an earlier command left there must not matter.
      this.#parameters.fill(0xa5)
      this.#parameters.set(out.subarray(0, gathered))
      task.parameters = this.#parameters
    }
    task.parameterLength = gathered
    this.#execute(task)
    this.#run(out, dataIn)
    return this.#reply(dataIn)
  }

  #run(out: Uint8Array, dataIn: Uint8Array): void {
    const task = this.task
    const program = task.program
    if (program !== null) {
      let step = program.next(0)
      while (!step.done) step = program.next(this.#medium.run(task, out, dataIn))
    } else if (task.action === ACTION.FORWARD && this.#serve !== undefined) {
      this.#forward(this.#serve)
    } else if (task.action !== ACTION.DONE) {
      complete(task, this.#medium.run(task, out, dataIn))
    }
    if (task.action !== ACTION.DONE) throw new Error(`action ${task.action} is left`)
  }

  /** As a transport does it: another task, with private copies, stands for this one. */
  #forward(serve: Serve): void {
    const task = this.task
    const served = new Task()
    served.cdbBytes.set(task.cdbBytes)
    served.parameters = task.parameters.slice(0, task.transferLength)
    served.parameterLength = served.dataOutLength = served.parameters.length
    served.dataInLength = task.dataInLength
    const effects = serve(served)
    if (effects !== null) {
      let step = effects.next(0)
      while (!step.done) {
        this.effects.push(step.value)
        step = effects.next(this.#perform(served, step.value))
      }
    }
    served.limit()
    task.conclude(served.result)
  }

  #perform(served: Task, effect: Effect): number {
    const fault = this.faults.get(effect.type)
    if (fault !== undefined) return -fault
    switch (effect.type) {
      case 'flush':
        return this.#operate(served, ACTION.FLUSH, 0, 0)
      case 'zero':
        return this.#operate(served, ACTION.DISCARD, effect.offset, effect.length)
      case 'fill':
        served.patternLength = effect.pattern.length
        return this.#operate(served, ACTION.WRITE_PATTERN, effect.offset, effect.length, effect.pattern)
      case 'copy':
        this.#medium.bytes.copyWithin(effect.offset, effect.sourceOffset, effect.sourceOffset + effect.length)
        return effect.length
      default:
        return 0
    }
  }

  #operate(served: Task, action: number, offset: number, length: number, out = new Uint8Array(0)): number {
    Object.assign(served, { action, offset, length })
    const result = this.#medium.run(served, out, new Uint8Array(0))
    served.action = ACTION.DONE
    return result
  }

  #reply(dataIn: Uint8Array): Reply {
    const task = this.task
    if (task.dataInCount > 0) dataIn.set(task.dataIn.subarray(0, task.dataInCount))
    const moved = task.overrun ? 0 : task.transferLength
    const data = task.direction === DIRECTION.IN ? dataIn.subarray(0, moved) : dataIn.subarray(0, 0)
    return {
      status: task.status,
      senseCode: task.senseCode,
      sense: hex(task.sense.subarray(0, task.senseLength)),
      data: data.length <= 4096 ? hex(data) : `${data.length} bytes`,
      dataIn: data,
      overrun: task.overrun,
      residual: (task.direction === DIRECTION.OUT ? task.dataOutLength : task.dataInLength) - moved,
    }
  }
}
