import { once } from 'node:events'
import { createInterface } from 'node:readline'
import type { Duplex } from 'node:stream'
import { within } from '../deadline.js'

/** A QMP command that QEMU refused (docs/interop/qmp-spec.rst). */
export class QmpError extends Error {
  readonly code: string

  constructor(command: string, error: { class: string; desc: string }) {
    super(`${command}: ${error.desc}`)
    this.name = 'QmpError'
    this.code = error.class
  }
}

interface Message {
  QMP?: unknown
  id?: number
  return?: unknown
  error?: { class: string; desc: string }
  event?: string
  data?: unknown
}

interface Waiting {
  command: string
  resolve(value: unknown): void
  reject(error: Error): void
}

const ANSWER = 30_000

/** A client of QEMU's monitor. */
export class Qmp {
  readonly #socket: Duplex
  readonly #waiting = new Map<number, Waiting>()
  readonly #events: { name: string; data: unknown }[] = []
  readonly #emitter = new EventTarget()
  #lastId = 0

  constructor(socket: Duplex) {
    this.#socket = socket
    createInterface({ input: socket })
      .on('line', (line) => this.#receive(JSON.parse(line) as Message))
      .on('error', () => {}) // 'close' follows
    socket.on('close', () => {
      for (const { command, reject } of this.#waiting.values()) reject(new Error(`${command}: the monitor is gone`))
      this.#waiting.clear()
    })
  }

  /** Ends the negotiation; the first thing to do. */
  negotiate(): Promise<unknown> {
    return this.execute('qmp_capabilities')
  }

  /** Runs a command; the value that it returns, or a QmpError. */
  execute<T = unknown>(command: string, parameters: Record<string, unknown> = {}): Promise<T> {
    const id = ++this.#lastId
    const answer = new Promise<unknown>((resolve, reject) => {
      this.#waiting.set(id, { command, resolve, reject })
    })
    this.#socket.write(`${JSON.stringify({ execute: command, arguments: parameters, id })}\n`)
    return within(ANSWER, `answer to ${command}`, answer) as Promise<T>
  }

  /** The next event of that name not yet waited for; its data. */
  async event(name: string, milliseconds: number): Promise<unknown> {
    for (;;) {
      const index = this.#events.findIndex((event) => event.name === name)
      if (index >= 0) return this.#events.splice(index, 1)[0]?.data
      await within(milliseconds, `event ${name}`, once(this.#emitter, 'event'))
    }
  }

  #receive(message: Message): void {
    if (message.event !== undefined) {
      this.#events.push({ name: message.event, data: message.data })
      this.#emitter.dispatchEvent(new Event('event'))
    }
    const waiting = message.id === undefined ? undefined : this.#waiting.get(message.id)
    if (message.id === undefined || waiting === undefined) return
    this.#waiting.delete(message.id)
    if (message.error === undefined) waiting.resolve(message.return)
    else waiting.reject(new QmpError(waiting.command, message.error))
  }
}
