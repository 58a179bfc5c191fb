/**
 * Memory whose every store can be the last one of a process. While it is armed, typed arrays made over its buffers are
 * watched: each element stored, plainly or by Atomics, is a step, and the process can be killed before any of them.
 *
 * What a kill leaves is a prefix of what the machine has run, and the compiler may have reordered that. A weak kill
 * takes back some of the stores before it, such as the memory model of JavaScript lets be late: a plain store may come
 * after later plain stores and after an Atomics.load, and before an earlier Atomics.store; it may not come after a later
 * Atomics.store, nor before an earlier Atomics.load; stores to the same place keep their order.
 */
import type { Random } from '../random.js'

/** The process was killed. */
export class Killed extends Error {}

type Watched = Uint8Array | Uint16Array | Int32Array | Uint32Array | Float64Array

interface Event {
  readonly kind: 'plain' | 'atomic' | 'load'
  readonly buffer: ArrayBufferLike
  readonly at: number
  readonly before: Uint8Array
}

/** Events that a weak kill may take back. */
const WINDOW = 16

const CONSTRUCTORS = ['Uint8Array', 'Uint16Array', 'Int32Array', 'Uint32Array', 'Float64Array'] as const
const TypedArrays = Object.fromEntries(CONSTRUCTORS.map((name) => [name, globalThis[name]]))
const { load, store } = Atomics

export class CrashMemory {
  /** Steps so far. */
  steps = 0
  /** The step before which the process is killed; 0: none. */
  killAt = 0
  #armed = false
  #events: Event[] = []
  readonly #buffers = new Set<ArrayBufferLike>()
  readonly #targets = new WeakMap<object, Watched>()

  /** Puts the watch in place of the real things, for good: tests run in processes of their own. */
  constructor(buffers: readonly ArrayBufferLike[]) {
    for (const buffer of buffers) this.#buffers.add(buffer)
    for (const name of CONSTRUCTORS) {
      const real = TypedArrays[name] as unknown as new (...args: unknown[]) => Watched
      const construct = (target: typeof real, args: unknown[]): object => {
        const view = new target(...args)
        return this.#armed && this.#buffers.has(args[0] as ArrayBufferLike) ? this.#watch(view) : view
      }
      Object.assign(globalThis, { [name]: new Proxy(real, { construct }) })
    }
    Atomics.store = ((view: object, index: number, value: number): number => {
      const target = this.#targets.get(view)
      if (target === undefined) return store(view as Int32Array, index, value)
      this.#store(target, index, 'atomic', () => store(target as Int32Array, index, value))
      return value
    }) as typeof Atomics.store
    Atomics.load = ((view: object, index: number): number => {
      const target = this.#targets.get(view)
      if (target === undefined) return load(view as Int32Array, index)
      this.#events.push({ kind: 'load', buffer: target.buffer, at: 0, before: new Uint8Array(0) })
      return load(target as Int32Array, index)
    }) as typeof Atomics.load
  }

  /** Runs what is watched, and may be killed. */
  run<T>(process: () => T): T {
    this.#armed = true
    try {
      return process()
    } finally {
      this.#armed = false
    }
  }

  /** All stores so far are seen by everybody: somebody else looks. */
  settle(): void {
    this.#events = []
  }

  /** After a kill: takes back what may not have been stored yet. */
  weaken(random: Random): void {
    const events = this.#events.slice(-WINDOW)
    const late: Event[] = []
    let anyAtomic = false
    let fenced = false
    for (const event of events) {
      if (event.kind === 'load') {
        fenced ||= anyAtomic
        continue
      }
      const forced = event.kind === 'atomic' ? late.length > 0 : fenced || late.some((other) => overlap(event, other))
      if (!forced && !random.once(4)) continue
      late.push(event)
      anyAtomic ||= event.kind === 'atomic'
    }
    for (const event of late.reverse()) new Uint8Array(event.buffer).set(event.before, event.at)
    this.settle()
  }

  #store(target: Watched, index: number, kind: 'plain' | 'atomic', perform: () => void): void {
    if (++this.steps === this.killAt) throw new Killed()
    const size = target.BYTES_PER_ELEMENT
    const at = target.byteOffset + size * index
    if (index < target.length) {
      this.#events.push({ kind, buffer: target.buffer, at, before: new Uint8Array(target.buffer, at, size).slice() })
    }
    perform()
  }

  #watch(view: Watched): object {
    const proxy = new Proxy(view, {
      get: (target, key) => {
        const value = Reflect.get(target, key, target)
        if (key === 'fill') {
          return (filler: number) => {
            for (let i = 0; i < target.length; i++) this.#plain(target, i, filler)
          }
        }
        return typeof value === 'function' ? value.bind(target) : value
      },
      set: (target, key, value: number) => {
        this.#plain(target, Number(key), value)
        return true
      },
    })
    this.#targets.set(proxy, view)
    return proxy
  }

  #plain(target: Watched, index: number, value: number): void {
    this.#store(target, index, 'plain', () => {
      target[index] = value
    })
  }
}

const overlap = (a: Event, b: Event): boolean =>
  a.buffer === b.buffer && a.at < b.at + b.before.length && b.at < a.at + a.before.length
