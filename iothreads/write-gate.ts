import type { Doorbells } from './doorbells.js'
import { BELL } from './messages.js'
import { CANCEL } from './request.js'
import { GATE, ROW, rowAt, STRIPE_BYTES, stripesOf } from './write-gate-memory.js'
import { ALL_PASS, PASSAGE, WRITES_PASS } from './write-gate-passages.js'

/**
 * The write gate of a logical unit: what COMPARE AND WRITE, ORWRITE and WRITE ATOMIC need to be atomic against every other write, from
 * any queue of any controller. The unit's addresses are dealt out to 32 stripes, a MiB each in turn. An operation that changes the medium
 * counts itself in at its stripes; one that has to be alone there takes its stripes, all of them or none, and waits until nobody
 * counts there. Nothing blocks a thread: what may not go on yet is kept, and tried again when the thread's doorbell rings.
 *
 * To count costs next to nothing, for a thread says only once for each turn of its loop that it comes (TURN becomes odd), and only then
 * looks at LOCK; at the end of the turn TURN becomes even. The counters are written by their thread alone, between the two.
 *
 * Why nobody slips through. TURN, LOCK, DRAIN and WANT are accessed in one order (Atomics are sequentially consistent).
 * - A thread makes TURN odd, then loads LOCK; a taker sets its bits in LOCK, then loads TURN. Whichever comes second sees the other: the
 *   thread finds the bits and keeps out of these stripes, or the taker finds the turn and waits for its end. Once TURN was even, or has
 *   changed, since LOCK was set, the counters that the taker sees are those of all who came before (they were written before TURN), and
 *   nobody new is counted in the stripes: the taker looks at each thread until its counters are 0, and never again.
 * - Who waits says so (DRAIN: for turns and counters; WANT: for stripes) and then looks again; who ends a turn or releases does that and
 *   then looks who waits. Again one sees the other: no wake-up is lost.
 *
 * Why it ends. Takers hold all they need or nothing, so they never wait for one another in a ring. New writes are kept while their
 * stripe is taken, so the counters fall. Who waits has a ticket, and a taker gives way to other threads' earlier tickets for its
 * stripes; the earliest one waits for nobody but those who are inside.
 */

/** Whoever passes a gate; a Request is one. */
export interface Passer {
  readonly task: { readonly action: number; readonly offset: number; readonly length: number }
  /** Where it is inside, set by the gate: a bit for each stripe. 0: outside. */
  stripes: number
  /** It is alone there. */
  alone: boolean
  /** CANCEL. */
  readonly cancel: number
}

/** What the gates of a thread tell whoever runs them. */
export interface GateTurn {
  /** Something waits for what this thread itself has just done. */
  stirred: boolean
  /** Those that somebody has passed in this turn: the first `count` of `open`, which never shrinks. */
  readonly open: { endTurn(): void }[]
  count: number
}

export function gateTurn(): GateTurn {
  return { stirred: false, open: [], count: 0 }
}

/** Ends the turn of all gates that are open. */
export function endTurns(now: GateTurn): void {
  for (let i = 0; i < now.count; i++) now.open[i]!.endTurn()
  now.count = 0
}

interface Waiter<P> {
  readonly passer: P
  readonly stripes: number
  readonly alone: boolean
  readonly ticket: number
  /** It has taken its stripes, and waits for those who are still inside. */
  taken: boolean
  /** The row that is looked at: those before it have nobody inside any more. */
  row: number
  /** What its TURN was when it was first seen, odd; 0: it was not. */
  turn: number
  /** That turn has ended. */
  ended: boolean
}

/** One thread's side of a gate: of all its queues, whatever controller they belong to. */
export class WriteGate<P extends Passer = Passer> {
  readonly #words: Int32Array
  readonly #index: number
  /** The first word of this thread's row. */
  readonly #row: number
  readonly #doorbells: Doorbells
  readonly #passages: Uint8Array
  readonly #now: GateTurn
  #waiters: Waiter<P>[] = []
  /** This thread's TURN, and what LOCK was when that became odd, or later. */
  #turn: number
  #lock = 0
  /** Its DRAIN. */
  #draining = 0

  /**
   * @param row this thread's, of `doorbells`; no other object has it for this memory
   * @param reads what only reads is counted as well
   * @param now this thread's
   */
  constructor(memory: SharedArrayBuffer, row: number, doorbells: Doorbells, reads: boolean, now: GateTurn) {
    this.#words = new Int32Array(memory)
    this.#index = row
    this.#row = rowAt(row)
    this.#doorbells = doorbells
    this.#passages = reads ? ALL_PASS : WRITES_PASS
    this.#now = now
    this.#turn = Atomics.load(this.#words, this.#row + ROW.TURN)
  }

  /** How many wait here. */
  get waiting(): number {
    return this.#waiters.length
  }

  /** Whether the operation of `passer` may begin. False: it waits, and `run` says when. */
  admits(passer: P): boolean {
    const task = passer.task
    const passage = this.#passages[task.action]!
    if (passage === PASSAGE.FREE) return true
    const first = Math.floor(task.offset / STRIPE_BYTES)
    const inOne = task.offset - first * STRIPE_BYTES + task.length <= STRIPE_BYTES
    return this.pass(passer, inOne ? 1 << first : stripesOf(task.offset, task.length), passage === PASSAGE.ALONE)
  }

  /** The same for any stripes: with others, or alone. */
  pass(passer: P, stripes: number, alone: boolean): boolean {
    if (!alone && this.#enters(stripes)) {
      passer.stripes = stripes
      passer.alone = false
      return true
    }
    return this.#wait(passer, stripes, alone)
  }

  /** The operation has ended. */
  leave(passer: P): void {
    const { stripes } = passer
    passer.stripes = 0
    if (passer.alone) {
      this.#release(stripes)
    } else {
      if ((this.#turn & 1) === 0) this.#begins()
      this.#count(stripes, -1)
      if ((this.#draining & stripes) !== 0) this.#now.stirred = true
    }
  }

  /** Nobody passes any more until the next turn, but `admits` begins one. */
  endTurn(): void {
    this.#turn = (this.#turn + 1) | 0
    Atomics.store(this.#words, this.#row + ROW.TURN, this.#turn)
    const lock = Atomics.load(this.#words, GATE.LOCK)
    if (lock !== 0) this.#wakeOthers(ROW.DRAIN, lock)
  }

  #begins(): void {
    this.#turn = (this.#turn + 1) | 0
    Atomics.store(this.#words, this.#row + ROW.TURN, this.#turn)
    this.#lock = Atomics.load(this.#words, GATE.LOCK)
    const now = this.#now
    now.open[now.count++] = this
  }

  #enters(stripes: number): boolean {
    if ((this.#turn & 1) === 0) this.#begins()
    if ((this.#lock & stripes) !== 0) return false
    this.#count(stripes, 1)
    return true
  }

  #count(stripes: number, by: number): void {
    let left = stripes
    do {
      const stripe = 31 - Math.clz32(left)
      this.#words[this.#row + ROW.COUNTERS + stripe]! += by
      left ^= 1 << stripe
    } while (left !== 0)
  }

  #release(stripes: number): void {
    Atomics.and(this.#words, GATE.LOCK, ~stripes)
    this.#lock &= ~stripes
    this.#now.stirred = true
    this.#wakeOthers(ROW.WANT, stripes)
  }

  /** Wakes the other threads whose word at `of` has one of the stripes. */
  #wakeOthers(of: number, stripes: number): void {
    const rows = this.#doorbells.rows
    for (let row = 0; row < rows; row++) {
      if (row === this.#index || (Atomics.load(this.#words, rowAt(row) + of) & stripes) === 0) continue
      this.#doorbells.ring(row, BELL.GATE)
    }
  }

  /** For what could not pass at once, or has to be alone. */
  #wait(passer: P, stripes: number, alone: boolean): boolean {
    const waiters = this.#waiters
    const ticket = Atomics.add(this.#words, GATE.NEXT_TICKET, 1)
    const waiter: Waiter<P> = { passer, stripes, alone, ticket, taken: false, row: 0, turn: 0, ended: false }
    const isNext = waiters.every((each) => (each.stripes & stripes) === 0)
    if (isNext && this.#tries(waiter)) {
      grant(waiter)
      return true
    }
    waiters.push(waiter)
    this.#publish()
    if (!isNext) return false
    // Whoever did not see that somebody waits has released, or ended its turn, before: that is to be seen now.
    for (let taken = waiter.taken; !this.#tries(waiter); taken = waiter.taken) {
      if (waiter.taken === taken) return false
      this.#publish()
    }
    waiters.pop()
    this.#publish()
    grant(waiter)
    return true
  }

  /** Whether a waiter may go on. What it waits for next may be another thing afterwards. */
  #tries(waiter: Waiter<P>): boolean {
    if (!waiter.alone) {
      // In the middle of a turn a later look is as good as the first one. In vain it is not worth a turn, which others would hear of.
      this.#lock = Atomics.load(this.#words, GATE.LOCK)
      return (this.#lock & waiter.stripes) === 0 && this.#enters(waiter.stripes)
    }
    if (!waiter.taken) waiter.taken = !this.#givesWay(waiter) && this.#takes(waiter.stripes)
    return waiter.taken && this.#isAlone(waiter)
  }

  /** Whether another thread waits for some of the stripes with an earlier ticket. */
  #givesWay({ stripes, ticket }: Waiter<P>): boolean {
    const rows = this.#doorbells.rows
    for (let row = 0; row < rows; row++) {
      if (row === this.#index) continue
      const at = rowAt(row)
      if ((Atomics.load(this.#words, at + ROW.WANT) & stripes) === 0) continue
      if (((Atomics.load(this.#words, at + ROW.TICKET) - ticket) | 0) < 0) return true
    }
    return false
  }

  #takes(stripes: number): boolean {
    for (;;) {
      const lock = Atomics.load(this.#words, GATE.LOCK)
      if ((lock & stripes) !== 0) return false
      if (Atomics.compareExchange(this.#words, GATE.LOCK, lock, lock | stripes) !== lock) continue
      this.#lock |= stripes
      return true
    }
  }

  #isAlone(waiter: Waiter<P>): boolean {
    const rows = this.#doorbells.rows
    while (waiter.row < rows) {
      const at = rowAt(waiter.row)
      if (!waiter.ended && waiter.row !== this.#index) {
        const turn = Atomics.load(this.#words, at + ROW.TURN)
        if ((turn & 1) !== 0 && (waiter.turn === 0 || waiter.turn === turn)) {
          waiter.turn = turn
          return false
        }
      }
      waiter.ended = true
      for (let left = waiter.stripes; left !== 0; ) {
        const stripe = 31 - Math.clz32(left)
        if (Atomics.load(this.#words, at + ROW.COUNTERS + stripe) !== 0) return false
        left ^= 1 << stripe
      }
      waiter.row++
      waiter.turn = 0
      waiter.ended = false
    }
    return true
  }

  /** Lets in whoever may go on, in order; they are taken from the list and their stripes set. */
  #admitted(): P[] {
    const admitted: P[] = []
    let changed = true
    while (changed) {
      changed = false
      let before = 0
      this.#waiters = this.#waiters.filter((waiter) => {
        const { stripes, taken } = waiter
        if (waiter.taken || (before & stripes) === 0) {
          if (this.#tries(waiter)) {
            grant(waiter)
            admitted.push(waiter.passer)
            changed = true
            return false
          }
          // It waits for something else now, which is not told yet: look once more when it is.
          if (waiter.taken !== taken) changed = true
        }
        before |= stripes
        return true
      })
      if (changed) this.#publish()
    }
    return admitted
  }

  /** Tells the others what this thread waits for. */
  #publish(): void {
    const words = this.#words
    let want = 0
    let drain = 0
    let ticket = 0
    for (const waiter of this.#waiters) {
      if (waiter.taken) {
        drain |= waiter.stripes
      } else {
        if (want === 0) ticket = waiter.ticket
        want |= waiter.stripes
      }
    }
    const row = this.#row
    const wanted = words[row + ROW.WANT]!
    const later = want !== 0 && wanted !== 0 && ticket !== words[row + ROW.TICKET]
    Atomics.store(words, row + ROW.DRAIN, drain)
    this.#draining = drain
    if (want !== 0) Atomics.store(words, row + ROW.TICKET, ticket)
    Atomics.store(words, row + ROW.WANT, want)
    const dropped = wanted & ~want
    if (dropped === 0 && !later) return
    // Others gave way to what has gone. Those whose stripes are taken hear of it when these are released.
    const free = (later ? dropped | want : dropped) & ~Atomics.load(words, GATE.LOCK)
    if (free !== 0) this.#wakeOthers(ROW.WANT, free)
  }

  /** Tries again what waits. Calls back with each that may begin, in order. */
  run(begin: (passer: P) => void): void {
    for (const passer of this.#admitted()) begin(passer)
  }

  /** Takes back what waits and was cancelled. Calls back with each. */
  endCancelled(ended: (passer: P) => void): void {
    const cancelled = this.#waiters.filter(({ passer }) => passer.cancel !== CANCEL.NONE)
    if (cancelled.length === 0) return
    this.#waiters = this.#waiters.filter(({ passer }) => passer.cancel === CANCEL.NONE)
    this.#publish()
    for (const { taken, stripes } of cancelled) if (taken) this.#release(stripes)
    this.#now.stirred = true
    for (const { passer } of cancelled) ended(passer)
  }
}

function grant<P extends Passer>({ passer, stripes, alone }: Waiter<P>): void {
  passer.stripes = stripes
  passer.alone = alone
}
