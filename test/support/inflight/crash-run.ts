/** A driver that goes on, and devices that get killed: whatever happens, each request is completed exactly once. */
import type { Random } from '../random.js'
import { type CrashMemory, Killed } from './crash-memory.js'

/** One process of the device. Its requests go by numbers of its own. */
export interface DeviceProcess {
  /** What it has taken over, in the order in which it would serve it. */
  readonly recovered: readonly number[]
  /** Looks for new requests; how many `fetch` may answer. */
  available(): number
  /** The next one, noted; undefined when there is none. */
  fetch(): number | undefined
  complete(request: number): void
  publish(): void
  /** Which one of the driver's it is. Throws if what was kept of it is not what the driver wrote. */
  sequence(request: number): number
}

export interface CrashRig {
  readonly memory: CrashMemory
  /** Makes request number `sequence` available; false when the ring has no room. */
  submit(sequence: number): boolean
  show(): void
  /** The requests completed since the last time. Throws for one that is not in flight. */
  reap(): number[]
  /** A new process begins; it may be killed before it has. */
  boot(): DeviceProcess
  /** Gives the memory back. Nothing of it is used any more. */
  close(): void
}

export interface CrashRunOptions {
  /** Whether a kill may also take back stores that could have been reordered. */
  readonly weak: boolean
  readonly turns: number
  /** The step of the first kill. Default: at random. */
  readonly firstKill?: number
  /** Whether others follow it. */
  readonly moreKills: boolean
}

const same = (a: readonly number[], b: readonly number[]): boolean =>
  a.length === b.length && a.every((value, i) => value === b[i])

export class CrashRun {
  kills = 0
  recovered = 0
  /** Steps in which it could have been killed. */
  steps = 0
  readonly #random: Random
  readonly #rig: CrashRig
  readonly #options: CrashRunOptions
  #process!: DeviceProcess
  /** The driver's requests that are not completed, in the order they were submitted in. */
  #waiting: number[] = []
  #submitted = 0
  /** Requests that this process has noted and not completed; and completed and not published. */
  #flying: number[] = []
  #unpublished: number[] = []

  constructor(random: Random, rig: CrashRig, options: CrashRunOptions) {
    this.#random = random
    this.#rig = rig
    this.#options = options
    rig.memory.killAt = options.firstKill ?? (options.moreKills ? this.#soon() : 0)
    if (!this.#booted()) this.#restart()
  }

  #soon(): number {
    return this.#rig.memory.steps + 1 + this.#random.below(this.#random.once(4) ? 4 : 60)
  }

  /** Throws when a request gets lost, or completed twice, or resumed out of order. */
  run(): void {
    for (let turn = 0; turn < this.#options.turns; turn++) {
      if (this.#random.once(3)) this.#drive()
      else this.#survive(() => this.#serve())
      // A kill between two turns.
      if (this.#options.moreKills && this.#random.once(20)) this.#killed()
    }
    this.steps = this.#rig.memory.steps
    this.#rig.memory.killAt = 0
    for (let turn = 0; this.#waiting.length > 0; turn++) {
      if (turn > 100) throw new Error(`requests ${this.#waiting} never end`)
      this.#survive(() => {
        this.#fetch(1000)
        this.#completeSome(1000)
        this.#publish()
      })
      this.#reap()
    }
  }

  #drive(): void {
    const random = this.#random
    if (random.once(2)) this.#reap()
    for (let i = random.below(5); i > 0 && this.#rig.submit(this.#submitted); i--) this.#waiting.push(this.#submitted++)
    this.#rig.show()
    this.#rig.memory.settle()
  }

  #reap(): void {
    for (const sequence of this.#rig.reap()) {
      const at = this.#waiting.indexOf(sequence)
      if (at < 0) throw new Error(`request ${sequence} was completed twice`)
      this.#waiting.splice(at, 1)
    }
    this.#rig.memory.settle()
  }

  #serve(): void {
    const random = this.#random
    if (random.once(2)) this.#fetch(1 + random.below(6))
    if (!random.once(3)) this.#completeSome(1 + random.below(6))
    if (random.once(2)) this.#fetch(1 + random.below(3))
    if (random.once(3)) this.#completeSome(1)
    if (!random.once(3)) this.#publish()
  }

  #fetch(most: number): void {
    const there = Math.min(most, this.#process.available())
    for (let i = 0; i < there; i++) {
      const request = this.#process.fetch()
      if (request === undefined) return
      this.#flying.push(request)
    }
  }

  #completeSome(most: number): void {
    for (let i = 0; i < most && this.#flying.length > 0; i++) {
      const [request] = this.#flying.splice(this.#random.below(this.#flying.length), 1)
      this.#unpublished.push(request!)
      this.#process.complete(request!)
    }
  }

  #publish(): void {
    this.#process.publish()
    this.#unpublished = []
  }

  #survive(step: () => void): void {
    try {
      this.#rig.memory.run(step)
    } catch (error) {
      if (!(error instanceof Killed)) throw error
      this.#killed()
    }
  }

  /** Begins a process; false if it was killed meanwhile. */
  #booted(): boolean {
    try {
      this.#process = this.#rig.memory.run(() => this.#rig.boot())
      return true
    } catch (error) {
      if (!(error instanceof Killed)) throw error
      return false
    }
  }

  /** After a kill: the driver sees what is there, and goes on, and sooner or later a process begins that is not killed at once. */
  #restart(): void {
    const { memory } = this.#rig
    do {
      this.kills++
      if (this.#options.weak && this.#random.once(2)) memory.weaken(this.#random)
      this.#reap()
      if (this.#random.once(3)) this.#drive()
      memory.killAt = this.#options.moreKills && !this.#random.once(3) ? this.#soon() : 0
    } while (!this.#booted())
  }

  #killed(): void {
    const noted = [...this.#flying, ...this.#unpublished].map((request) => this.#process.sequence(request))
    this.#restart()
    this.#flying = [...this.#process.recovered]
    this.#unpublished = []
    this.recovered += this.#flying.length
    this.#check(noted)
  }

  /** @param noted what the dead process had noted, of which some may have been published */
  #check(noted: readonly number[]): void {
    const found = this.#flying.map((request) => this.#process.sequence(request))
    const oldest = this.#waiting.slice(0, found.length)
    if (!same(found, oldest)) throw new Error(`recovered ${found}, the oldest ones in flight are ${oldest}`)
    if (this.#options.weak) return
    const lost = noted.filter((sequence) => this.#waiting.includes(sequence) && !found.includes(sequence))
    if (lost.length > 0) throw new Error(`noted, but not recovered: ${lost}`)
  }
}
