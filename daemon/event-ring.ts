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

  /** @param fault the ring is broken */
  constructor(memory: () => GuestMemory, fault: (code: string) => void) {
    this.#memory = memory
    this.#fault = fault
  }

  async start(ring: HostRing): Promise<void> {
    this.#queue = new EventQueue(ring, this.#memory(), this.#fault, this.#missed)
  }

  async stop(): Promise<number> {
    this.#missed = this.#queue!.missed
    return this.#queue!.stop()
  }

  /** The device was reset: the driver starts anew and has missed nothing. The ring is stopped. */
  reset(): void {
    this.#missed = false
  }

  async setCall(fd: number): Promise<void> {
    this.#queue!.setCall(fd)
  }

  async setErr(fd: number): Promise<void> {
    this.#queue!.setErr(fd)
  }
}
