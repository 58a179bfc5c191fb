import type { Doorbells } from './doorbells.js'
import { endTurns, gateTurn, type Passer, WriteGate } from './write-gate.js'
import { gateId } from './write-gate-memory.js'

interface Member<P extends Passer> {
  readonly gate: WriteGate<P>
  users: number
}

/** The write gates of the units that one thread has to do with: one for each unit, however many controllers have it. */
export class WriteGates<P extends Passer = Passer> {
  readonly #doorbells: Doorbells
  readonly #row: number
  readonly #begin: (passer: P) => void
  readonly #members = new Map<number, Member<P>>()
  readonly #now = gateTurn()
  /** Ids of gates that had no user left, to be forgotten when the turn has ended. */
  readonly #unused: number[] = []

  /** @param row the thread's, of `doorbells` @param begin called with what had to wait, when it may begin */
  constructor(doorbells: Doorbells, row: number, begin: (passer: P) => void) {
    this.#doorbells = doorbells
    this.#row = row
    this.#begin = begin
  }

  /** The gate with this memory. @param reads whether what only reads is counted as well: the same for all of a unit's users */
  open(memory: SharedArrayBuffer, reads: boolean): WriteGate<P> {
    const id = gateId(memory)
    let member = this.#members.get(id)
    if (member === undefined) {
      const gate = new WriteGate<P>(memory, this.#row, this.#doorbells, reads, this.#now)
      member = { gate, users: 0 }
      this.#members.set(id, member)
    }
    member.users++
    return member.gate
  }

  /** One user less. When it was the last one nothing passes or waits. */
  close(memory: SharedArrayBuffer): void {
    const id = gateId(memory)
    if (--this.#members.get(id)!.users === 0) this.#unused.push(id)
  }

  /** The thread's doorbell was rung for its gates. */
  rang(): void {
    this.#now.stirred = true
  }

  /** Begins what may pass now, if anything has changed, and ends the turn: nobody passes before the next one. */
  run(): void {
    const now = this.#now
    while (now.stirred || now.count > 0) {
      while (now.stirred) {
        now.stirred = false
        for (const { gate } of this.#members.values()) gate.run(this.#begin)
      }
      endTurns(now)
    }
    while (this.#unused.length > 0) this.#forget(this.#unused.pop()!)
  }

  #forget(id: number): void {
    if (this.#members.get(id)?.users === 0) this.#members.delete(id)
  }

  /** Ends what waits and was cancelled. Calls back with each. */
  endCancelled(ended: (passer: P) => void): void {
    for (const { gate } of this.#members.values()) gate.endCancelled(ended)
  }
}
