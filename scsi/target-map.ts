import type { Target } from './target.js'

/** Target ids of virtio-scsi (virtio 1.3 5.6.6.1: the second byte of a LUN). */
const TARGETS = 256

/** The targets of a controller, by target id. */
export class TargetMap {
  readonly #targets: (Target | null)[] = new Array<Target | null>(TARGETS).fill(null)

  /** The target with an id of 0 to 255; without one the transport answers BAD TARGET. */
  target(id: number): Target | undefined {
    return this.#targets[id] ?? undefined
  }

  /** @throws RangeError for an id that is taken or not 0 to 255. */
  add(target: Target): void {
    if (this.#targets[target.id] !== null)
      throw new RangeError(`target ${target.id} is taken or not 0 to ${TARGETS - 1}`)
    this.#targets[target.id] = target
  }

  remove(id: number): void {
    if (this.target(id) !== undefined) this.#targets[id] = null
  }
}
