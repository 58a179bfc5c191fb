import { type RingSetup, VQ } from 'vhost-user-protocol-ts'
import type { HostRing } from '../iothreads/index.js'
import { Ring, type RingServer } from './ring.js'

/** The rings that a front end has started and enabled. */
export class RingSet {
  readonly #locate: (setup: RingSetup) => HostRing
  readonly #rings = new Map<number, Ring>()

  /** @param locate see Ring */
  constructor(locate: (setup: RingSetup) => HostRing) {
    this.#locate = locate
  }

  /** By virtqueue index. */
  get(index: number): Ring | undefined {
    return this.#rings.get(index)
  }

  /** What the front end has set up. */
  get setups(): RingSetup[] {
    return [...this.#rings.values()].map(({ setup }) => setup)
  }

  /** How many of them are request queues. */
  get requestQueues(): number {
    return [...this.#rings.keys()].filter((index) => index >= VQ.REQUEST).length
  }

  /** Rejects where the ring cannot run; then it is none of these. */
  async start(setup: RingSetup, server: RingServer): Promise<void> {
    const ring = new Ring(setup, server, this.#locate)
    this.#rings.set(setup.index, ring)
    try {
      await ring.resume()
    } catch (error) {
      this.#rings.delete(setup.index)
      throw error
    }
  }

  /** Resolves with the next available index when nothing of the ring is in flight any more. */
  async stop(index: number): Promise<number> {
    const base = await this.#rings.get(index)!.pause()
    this.#rings.delete(index)
    return base
  }

  /**
   * Makes a change while all rings stand still. Task management goes first and comes back last: what is in a request ring
   * before a function comes is to be found by it. Rejects when the change has failed, or a ring cannot go on after it; the others go on.
   */
  async atRest(change: () => Promise<void>): Promise<void> {
    const rings = [...this.#rings.values()]
    const control = rings.filter(isControl)
    const others = rings.filter((ring) => !isControl(ring))
    await Promise.all(control.map((ring) => ring.pause()))
    await Promise.all(others.map((ring) => ring.pause()))
    const outcomes = [
      ...(await Promise.allSettled([change()])),
      ...(await Promise.allSettled(others.map((ring) => ring.resume()))),
      ...(await Promise.allSettled(control.map((ring) => ring.resume()))),
    ]
    const failure = outcomes.find(({ status }) => status === 'rejected')
    if (failure?.status === 'rejected') throw failure.reason
  }
}

function isControl({ setup }: Ring): boolean {
  return setup.index === VQ.CONTROL
}
