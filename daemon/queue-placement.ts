import { clockMonotonicNs } from 'memfd-mmap'
import type { MappedRegion } from 'vhost-user-protocol-ts'
import type { IoThread, UnitSpec } from '../iothreads/index.js'
import type { Ring } from './ring.js'
import type { Placement } from './task-manager.js'

/** Where a controller's request queues run, and which IOThreads know the controller because of that. */
export class QueuePlacement implements Placement {
  readonly #controller: string
  /** Of each request queue, started or not. */
  readonly #places: IoThread[]
  readonly #moves: number[]
  readonly #attached = new Set<IoThread>()
  #moving: Promise<void> | undefined
  #units: readonly UnitSpec[] = []
  #regions: readonly MappedRegion[] = []

  /** @param places the IOThread of each request queue */
  constructor(controller: string, places: readonly IoThread[]) {
    this.#controller = controller
    this.#places = [...places]
    this.#moves = places.map(() => 0)
  }

  /** Request queues. */
  get size(): number {
    return this.#places.length
  }

  /** IOThreads that serve a queue of the controller, or are about to, once each. */
  get iothreads(): readonly IoThread[] {
    return [...this.#attached]
  }

  /** Set while a queue is between two IOThreads. */
  get moving(): Promise<void> | undefined {
    return this.#moving
  }

  /** The IOThread of request queue number `queue`. */
  of(queue: number): IoThread {
    return this.#places[queue]!
  }

  /** How often a queue was given to another IOThread. */
  moves(queue: number): number {
    return this.#moves[queue]!
  }

  /** Whether a queue, started or not, belongs to the IOThread: such a one is not to end. */
  uses(iothread: IoThread): boolean {
    return this.#places.includes(iothread)
  }

  /** Makes the controller and its units known to the IOThreads of its queues. */
  async attach(units: readonly UnitSpec[]): Promise<void> {
    this.#units = units
    await Promise.all([...new Set(this.#places)].map((iothread) => this.#include(iothread)))
  }

  /** Takes the controller away from all IOThreads. No queue is started. */
  async detach(): Promise<void> {
    await Promise.all(this.iothreads.map((iothread) => this.#exclude(iothread)))
  }

  /**
   * Gives the IOThreads other units. No queue is started. Where one of them cannot have them, all have the old ones, and
   * this rejects.
   */
  async setUnits(units: readonly UnitSpec[]): Promise<void> {
    const before = this.#units
    this.#units = units
    try {
      await this.#tellUnits()
    } catch (error) {
      this.#units = before
      await this.#tellUnits()
      throw error
    }
  }

  async #tellUnits(): Promise<void> {
    const told = await Promise.allSettled(
      this.iothreads.map((iothread) =>
        iothread.send({ type: 'setUnits', controller: this.#controller, units: this.#units }),
      ),
    )
    for (const each of told) if (each.status === 'rejected') throw each.reason
  }

  /** Gives the IOThreads the guest's memory. No queue is started. Resolves when none of them has the old one. */
  async setMemory(regions: readonly MappedRegion[]): Promise<void> {
    this.#regions = regions
    await Promise.all(this.iothreads.map((iothread) => this.#tellMemory(iothread)))
  }

  /**
   * Gives a queue to another IOThread; if it is started it stands still meanwhile. Where it cannot be started there, it
   * goes back to where it was, and this rejects. Resolves with the time that it stood still, ns.
   *
   * @param started the queue's ring, if it is started when it is asked
   */
  async move(queue: number, to: IoThread, started: () => Ring | undefined): Promise<number> {
    const from = this.of(queue)
    if (from === to) return 0
    // What can be done before is: the pause is the price that the guest pays.
    if (!this.#attached.has(to)) await this.#include(to)
    try {
      const ring = started()
      if (ring !== undefined) {
        const moved = this.#moveRing(ring, queue, to).finally(() => {
          this.#moving = undefined
        })
        this.#moving = moved.then(
          () => {},
          () => {},
        )
        return await moved
      }
      this.#put(queue, to)
      return 0
    } finally {
      for (const iothread of [from, to]) {
        if (this.#attached.has(iothread) && !this.uses(iothread)) await this.#exclude(iothread)
      }
    }
  }

  async #moveRing(ring: Ring, queue: number, to: IoThread): Promise<number> {
    const from = this.of(queue)
    const start = clockMonotonicNs()
    await ring.pause()
    this.#put(queue, to)
    try {
      await ring.resume()
    } catch (error) {
      await ring.pause()
      this.#put(queue, from)
      await ring.resume()
      throw error
    }
    return clockMonotonicNs() - start
  }

  #put(queue: number, to: IoThread): void {
    this.#places[queue] = to
    this.#moves[queue]!++
  }

  async #include(iothread: IoThread): Promise<void> {
    await iothread.send({ type: 'attachController', controller: this.#controller, units: this.#units })
    this.#attached.add(iothread)
    await this.#tellMemory(iothread)
  }

  async #exclude(iothread: IoThread): Promise<void> {
    this.#attached.delete(iothread)
    await iothread.send({ type: 'detachController', controller: this.#controller })
  }

  async #tellMemory(iothread: IoThread): Promise<void> {
    await iothread.send({ type: 'setMemory', controller: this.#controller, regions: this.#regions })
  }
}
