import { CMD_REQUEST, CMD_RESPONSE, type DriverAllocation } from 'vhost-user-protocol-ts'
import { bytesOf } from './arena.js'
import type { Queue } from './queue.js'
import {
  copyOf,
  cut,
  poisonResponse,
  readResult,
  type ScsiCommand,
  type ScsiResult,
  writeCommand,
} from './scsi-request.js'

/** What the memory of an answered command is filled with. */
const SEAL = 0xa5

const RESPONSE_AT = 64
const DATA_AT = 256

/** Bytes of the memory of a command with `data` bytes of data. */
export const watchedBytes = (data: number): number => DATA_AT + data

/**
 * A command in guest memory of its own, sealed as soon as its answer is seen: whoever writes to it afterwards is found
 * out, and whoever reads data from it gets nonsense.
 */
export class WatchedCommand {
  readonly tag: number
  readonly queue: Queue
  /** Resolves with the answer. */
  readonly done: Promise<ScsiResult>
  result: ScsiResult | undefined
  readonly #response: DriverAllocation
  readonly #data: DriverAllocation
  #sealed = false

  /**
   * Puts the command into the ring, without showing it to the device.
   *
   * @param memory watchedBytes() of it, for the data that goes either way
   */
  constructor(queue: Queue, memory: DriverAllocation, command: ScsiCommand & { readonly tag: number }) {
    this.queue = queue
    this.tag = command.tag
    const part = (at: number, length: number): DriverAllocation => ({
      buffer: memory.buffer,
      byteOffset: memory.byteOffset + at,
      address: memory.address + at,
      length,
    })
    const header = part(0, CMD_REQUEST.SIZE)
    this.#response = part(RESPONSE_AT, CMD_RESPONSE.SIZE)
    const { dataOut } = command
    this.#data = part(DATA_AT, dataOut?.length ?? command.dataIn ?? 0)
    writeCommand(bytesOf(header), command, command.tag)
    poisonResponse(bytesOf(this.#response))
    if (dataOut === undefined) bytesOf(this.#data).fill(0)
    else bytesOf(this.#data).set(dataOut)
    const segments =
      dataOut === undefined
        ? [...cut(header, false), ...cut(this.#response, true), ...cut(this.#data, true)]
        : [...cut(header, false), ...cut(this.#data, false), ...cut(this.#response, true)]
    this.done = queue.add(segments).done.then((usedLength) => {
      this.result = readResult(copyOf(this.#response), copyOf(this.#data), usedLength)
      bytesOf(this.#response).fill(SEAL)
      bytesOf(this.#data).fill(SEAL)
      this.#sealed = true
      return this.result
    })
    this.done.catch(() => {})
  }

  /** Whether nobody has written to the memory since the answer was seen; true before. */
  get intact(): boolean {
    if (!this.#sealed) return true
    return [this.#response, this.#data].every((part) => bytesOf(part).every((byte) => byte === SEAL))
  }
}
