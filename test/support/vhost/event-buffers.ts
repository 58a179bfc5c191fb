import { type DriverMemory, EVENT } from 'vhost-user-protocol-ts'
import type { Queue } from './queue.js'

/** An event as the device wrote it (virtio 1.3 5.6.6.3). */
export interface ScsiEvent {
  readonly event: number
  /** The eight bytes of the LUN field. */
  readonly lun: Uint8Array
  readonly reason: number
  readonly usedLength: number
}

/** Keeps event buffers in the event queue and lists what came in them. */
export class EventBuffers {
  /** Buffers that come back are posted again. */
  keeps = true
  readonly #queue: Queue
  readonly #memory: DriverMemory
  readonly #region: number
  readonly #arrived: ScsiEvent[] = []
  readonly #waiting: ((event: ScsiEvent) => void)[] = []

  constructor(queue: Queue, memory: DriverMemory, region: number) {
    this.#queue = queue
    this.#memory = memory
    this.#region = region
  }

  post(count: number, length: number = EVENT.SIZE): void {
    for (let i = 0; i < count; i++) this.#postOne(this.#memory.allocate(length, 16, this.#region).address, length)
    this.#queue.publish()
  }

  next(): Promise<ScsiEvent> {
    const event = this.#arrived.shift()
    if (event !== undefined) return Promise.resolve(event)
    return new Promise((resolve) => this.#waiting.push(resolve))
  }

  #postOne(address: number, length: number): void {
    const { done } = this.#queue.add([{ address, length, writable: true }])
    done.then(
      (usedLength) => {
        const bytes = this.#memory.bytes(address, length).slice()
        if (this.keeps) {
          this.#postOne(address, length)
          this.#queue.publish()
        }
        this.#deliver(bytes, usedLength)
      },
      () => {},
    )
  }

  #deliver(bytes: Uint8Array, usedLength: number): void {
    const whole = new Uint8Array(EVENT.SIZE)
    whole.set(bytes.subarray(0, EVENT.SIZE))
    const view = new DataView(whole.buffer)
    const event = {
      event: view.getUint32(EVENT.EVENT, true),
      lun: whole.slice(EVENT.LUN, EVENT.LUN + 8),
      reason: view.getUint32(EVENT.REASON, true),
      usedLength,
    }
    const resolve = this.#waiting.shift()
    if (resolve === undefined) this.#arrived.push(event)
    else resolve(event)
  }
}
