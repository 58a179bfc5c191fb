import type { RingSetup } from 'vhost-user-protocol-ts'
import type { HostRing } from '../iothreads/index.js'
import { Serial } from './serial.js'

/** What serves one virtqueue while it runs. */
export interface RingServer {
  /** Serves the ring from `ring.base` on, first of all what is in it already. After a rejection it holds nothing of it. */
  start(ring: HostRing): Promise<void>
  /** Fetches nothing more and lets what is in flight end; resolves with the next available index. */
  stop(): Promise<number>
  /** Resolves when nobody uses the old descriptor any more. */
  setCall(fd: number): Promise<void>
  setErr(fd: number): Promise<void>
}

/**
 * A virtqueue that the front end has started and enabled. Whoever needs it to stand still pauses it: the end of the ring,
 * a change of the memory table, a move to another IOThread. Pauses nest, so that these need not know of each other: the
 * ring runs while nobody has it paused. It is made paused, once.
 */
export class Ring {
  readonly #server: RingServer
  readonly #locate: (setup: RingSetup) => HostRing
  readonly #steps = new Serial()
  #setup: RingSetup
  #pauses = 1
  #running = false

  /** @param locate where the ring's parts are in this process; throws DeviceError where they are not */
  constructor(setup: RingSetup, server: RingServer, locate: (setup: RingSetup) => HostRing) {
    this.#setup = setup
    this.#server = server
    this.#locate = locate
  }

  /** As the front end set it up. Its `base` is where the ring stood when it was last at rest. */
  get setup(): RingSetup {
    return this.#setup
  }

  /** Resolves with the next available index when nothing of the ring is in flight, nor will be before `resume`. */
  pause(): Promise<number> {
    this.#pauses++
    return this.#steps.run(async () => {
      if (this.#running) {
        this.#setup = { ...this.#setup, base: await this.#server.stop() }
        this.#running = false
      }
      return this.#setup.base
    })
  }

  /** Takes one pause back; after the last one the ring runs, or stays at rest if it cannot: then this rejects. */
  resume(): Promise<void> {
    this.#pauses--
    return this.#steps.run(async () => {
      if (this.#running || this.#pauses > 0) return
      await this.#server.start(this.#locate(this.#setup))
      this.#running = true
    })
  }

  setCall(fd: number): Promise<void> {
    return this.#steps.run(async () => {
      this.#setup = { ...this.#setup, callFd: fd }
      if (this.#running) await this.#server.setCall(fd)
    })
  }

  setErr(fd: number): Promise<void> {
    return this.#steps.run(async () => {
      this.#setup = { ...this.#setup, errFd: fd }
      if (this.#running) await this.#server.setErr(fd)
    })
  }
}
