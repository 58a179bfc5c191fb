import type { GuestMemory } from 'vhost-user-protocol-ts'
import type { HostRing } from '../iothreads/index.js'
import { EventQueue } from './event-queue.js'
import type { RingServer } from './ring.js'

/** Serves the event virtqueue on the main loop. */
export class EventRing implements RingServer {
  readonly #memory: () => GuestMemory
  readonly #fault: (code: string) => void
  #queue: EventQueue | undefined
  /** Of an event that found no buffer; outlives a stop of the ring. */
  #missed = false
  /** The driver has had the ring since the device was reset. */
  #known = false

  /** @param fault the ring is broken */
  constructor(memory: () => GuestMemory, fault: (code: string) => void) {
    this.#memory = memory
    this.#fault = fault
  }

  async start(ring: HostRing): Promise<void> {
    this.#queue = new EventQueue(ring, this.#memory(), this.#fault, this.#missed)
    this.#known = true
  }

  async stop(): Promise<number> {
    const queue = this.#queue!
    this.#queue = undefined
    this.#missed = queue.missed
    return queue.stop()
  }

  /** The device was reset: the driver starts anew and has missed nothing. The ring is stopped. */
  reset(): void {
    this.#missed = false
    this.#known = false
  }

  /**
   * Tells the driver of an event at a logical unit; `reason` as its type says. While the ring stands still, it is one that
   * the driver missed; before a driver is there, it is none.
   */
  send(type: number, target: number, lun: number, reason: number): void {
    if (this.#queue !== undefined) this.#queue.send(type, target, lun, reason)
    else if (this.#known) this.#missed = true
  }

  async setCall(fd: number): Promise<void> {
    this.#queue!.setCall(fd)
  }

  async setErr(fd: number): Promise<void> {
    this.#queue!.setErr(fd)
  }
}
