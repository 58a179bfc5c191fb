import type { GuestMemory } from 'vhost-user-protocol-ts'
import type { HostRing } from '../iothreads/index.js'
import { ControlQueue, type TaskManager } from './control-queue.js'
import type { RingServer } from './ring.js'

/** Serves the control virtqueue on the main loop. */
export class ControlRing implements RingServer {
  readonly #memory: () => GuestMemory
  readonly #manage: TaskManager
  readonly #fault: (code: string) => void
  readonly #failed: (error: unknown) => void
  #queue: ControlQueue | undefined
  #held = false

  /** @param fault the ring is broken @param failed a task management function ended in an error of ours */
  constructor(
    memory: () => GuestMemory,
    manage: TaskManager,
    fault: (code: string) => void,
    failed: (error: unknown) => void,
  ) {
    this.#memory = memory
    this.#manage = manage
    this.#fault = fault
    this.#failed = failed
  }

  async start(ring: HostRing): Promise<void> {
    this.#queue = new ControlQueue(ring, this.#memory(), this.#manage, this.#fault, this.#failed, this.#held)
  }

  /** Takes nothing while `held`. */
  hold(held: boolean): void {
    this.#held = held
    if (!held) this.#queue?.release()
  }

  stop(): Promise<number> {
    return this.#queue!.stop()
  }

  /** What has been taken is not answered any more, and not waited for. */
  discard(): void {
    this.#queue?.discard()
  }

  async setCall(fd: number): Promise<void> {
    this.#queue!.setCall(fd)
  }

  async setErr(fd: number): Promise<void> {
    this.#queue!.setErr(fd)
  }
}
