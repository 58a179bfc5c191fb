import { ACTION, complete, DIRECTION, MAX_PARAMETER_BYTES, parameterListLength, Task } from '../../../scsi/index.js'
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

/** A transport and its initiator in one: sends commands to `execute` and runs what they ask for on a medium. */
export class Initiator {
  readonly task = new Task()
  readonly #execute: (task: Task) => void
  readonly #medium: Medium
  readonly #parameters = new Uint8Array(MAX_PARAMETER_BYTES)

  constructor(execute: (task: Task) => void, medium: Medium) {
    this.#execute = execute
    this.#medium = medium
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
    } else if (task.action !== ACTION.DONE) {
      complete(task, this.#medium.run(task, out, dataIn))
    }
    if (task.action !== ACTION.DONE) throw new Error(`action ${task.action} is left`)
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
