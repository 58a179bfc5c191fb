/** Sees when an IOThread's loop stands still: stuck in a system call, starved of CPU, or gone round in a circle by a bug of ours. */
import type { Log } from './log.js'

/** What gives signs of life: an IoThread. */
export interface Heart {
  readonly id: string
  readonly tid: number
  ask(): void
  readonly answered: boolean
}

/** How an IOThread has done, as of the last look at it. */
export interface Heartbeat {
  /** How many pokes it has answered before the next one was due. */
  readonly answered: number
  /** How many it has not: while it is silent, one more at each look. */
  readonly missed: number
  /** Seconds since an answer was last seen, or since the start: up to the interval for one that is well. */
  readonly ageSeconds: number
  /** Whether it has been silent for so long that it was told of. */
  readonly silent: boolean
}

export interface HeartbeatOptions {
  /** From one look to the next. */
  readonly intervalMs?: number
  /** How long an IOThread may be silent before it is told of: in effect a multiple of the interval. */
  readonly silentAfterMs?: number
  /** Milliseconds of a clock that is never set back. */
  readonly now?: () => number
}

interface Pulse {
  answered: number
  missed: number
  /** Missed in a row. */
  row: number
  isSilent: boolean
  /** Whether it has ever been asked. */
  isAsked: boolean
  /** When an answer was last seen. */
  seenAt: number
  /** When the poke was sent whose answer is waited for, the first of the row. */
  askedAt: number
}

export class Heartbeats {
  readonly #log: Log
  readonly #intervalMs: number
  readonly #limit: number
  readonly #now: () => number
  readonly #pulses = new Map<Heart, Pulse>()
  #timer: NodeJS.Timeout | undefined

  constructor(log: Log, { intervalMs = 1000, silentAfterMs = 5000, now }: HeartbeatOptions = {}) {
    this.#log = log
    this.#intervalMs = intervalMs
    this.#limit = Math.max(1, Math.ceil(silentAfterMs / intervalMs))
    this.#now = now ?? (() => performance.now())
  }

  /** Looks once each interval from now on. It keeps no process alive. */
  start(): void {
    this.#timer ??= setInterval(() => this.look(), this.#intervalMs).unref()
  }

  stop(): void {
    clearInterval(this.#timer)
    this.#timer = undefined
  }

  watch(heart: Heart): void {
    const now = this.#now()
    const fresh = { answered: 0, missed: 0, row: 0, isSilent: false, isAsked: false }
    this.#pulses.set(heart, { ...fresh, seenAt: now, askedAt: now })
  }

  forget(heart: Heart): void {
    this.#pulses.delete(heart)
  }

  /** Undefined: it is not watched. */
  of(heart: Heart): Heartbeat | undefined {
    const pulse = this.#pulses.get(heart)
    if (pulse === undefined) return undefined
    const { answered, missed, seenAt, isSilent } = pulse
    return { answered, missed, ageSeconds: (this.#now() - seenAt) / 1000, silent: isSilent }
  }

  /** The ids of those that are silent. */
  silent(): string[] {
    return [...this.#pulses].filter(([, { isSilent }]) => isSilent).map(([{ id }]) => id)
  }

  /**
   * Looks who has answered, and pokes everyone anew. Silence is counted in looks, not by the clock: when this process has been stopped for
   * a while, or its main loop was busy, nobody is blamed for that.
   */
  look(): void {
    const now = this.#now()
    for (const [heart, pulse] of this.#pulses) {
      if (pulse.isAsked) {
        if (heart.answered) this.#answered(heart, pulse, now)
        else this.#missed(heart, pulse, now)
      }
      if (pulse.row === 0) pulse.askedAt = now
      pulse.isAsked = true
      heart.ask()
    }
  }

  #answered({ id, tid }: Heart, pulse: Pulse, now: number): void {
    pulse.answered++
    pulse.seenAt = now
    pulse.row = 0
    if (!pulse.isSilent) return
    pulse.isSilent = false
    const seconds = Math.round((now - pulse.askedAt) / 1000)
    this.#log.info({ iothread: id, tid, seconds }, `IOThread ${id} (tid ${tid}) answers again, after ${seconds} s`)
  }

  #missed({ id, tid }: Heart, pulse: Pulse, now: number): void {
    pulse.missed++
    pulse.row++
    if (pulse.isSilent || pulse.row < this.#limit) return
    pulse.isSilent = true
    const seconds = Math.round((now - pulse.askedAt) / 1000)
    this.#log.warn({ iothread: id, tid, seconds }, `IOThread ${id} (tid ${tid}) has not answered for ${seconds} s`)
  }
}
