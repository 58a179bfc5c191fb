/** The event queue (virtio 1.3 5.6.6.3). */
import { EVENT, EVENT_TYPE, EVENTS_MISSED, encodeLun, type GuestMemory } from 'vhost-user-protocol-ts'
import type { HostRing } from '../iothreads/index.js'
import { MainQueue } from './main-queue.js'

/**
 * The driver's buffers stay in the ring until there is an event for one: the available index then never runs ahead of the
 * used index, and no buffer is lost when the daemon ends (spec: a front end that reconnects starts at the used index).
 */
export class EventQueue {
  readonly #queue: MainQueue
  #missed: boolean

  /** @param fault the ring is broken @param missed of the queue that was stopped before */
  constructor(ring: HostRing, memory: GuestMemory, fault: (code: string) => void, missed = false) {
    this.#missed = missed
    this.#queue = new MainQueue(ring, memory, () => this.#kicked(), fault)
    // The predecessor was about to tell of events when it was killed: what they were is not known.
    while (this.#queue.unresumed > 0) {
      this.#missed = true
      this.#kicked()
    }
    this.#kicked()
  }

  /** An event has found no buffer, and the driver has not heard of that yet. */
  get missed(): boolean {
    return this.#missed
  }

  setCall(fd: number): void {
    this.#queue.setCall(fd)
  }

  setErr(fd: number): void {
    this.#queue.setErr(fd)
  }

  #kicked(): void {
    if (this.#missed) this.#put(EVENT_TYPE.NO_EVENT, undefined, 0)
  }

  /** Tells the driver of an event at a logical unit. `reason` as its type says (virtio 1.3 5.6.6.3). */
  send(type: number, target: number, lun: number, reason: number): void {
    this.#put(type, { target, lun }, reason)
  }

  #put(type: number, unit: { target: number; lun: number } | undefined, reason: number): void {
    const request = this.#queue.take()
    if (request === undefined) {
      this.#missed = true
      return
    }
    const bytes = new Uint8Array(EVENT.SIZE)
    const view = new DataView(bytes.buffer)
    view.setUint32(EVENT.EVENT, (type | (this.#missed ? EVENTS_MISSED : 0)) >>> 0, true)
    if (unit !== undefined) encodeUnit(bytes, unit.target, unit.lun)
    view.setUint32(EVENT.REASON, reason, true)
    this.#missed = false
    this.#queue.answer(request, bytes)
  }

  /** The next available index. */
  stop(): number {
    this.#queue.close()
    return this.#queue.base
  }
}

/** Peripheral device addressing has one byte for a LUN (SAM-5 4.7.7.2). */
const PERIPHERAL_LUNS = 256

/**
 * A LUN in the form that REPORT LUNS has it in: drivers take bytes 2 and 3 for their number of it without a look at the
 * addressing method.
 */
function encodeUnit(bytes: Uint8Array, target: number, lun: number): void {
  encodeLun(bytes, EVENT.LUN, target, lun)
  if (lun < PERIPHERAL_LUNS) bytes[EVENT.LUN + 2] = 0
}
