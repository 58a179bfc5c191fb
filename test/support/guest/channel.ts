import type { Duplex } from 'node:stream'
import { within } from '../deadline.js'

/** How a script ended in the guest. */
export interface RunResult {
  status: number
  stdout: string
  stderr: string
}

interface Waiter<T> {
  resolve(value: T): void
  reject(error: Error): void
}

const HEADER = /^(?:ready (?<bootId>\S+)|done (?<id>\d+) (?<status>\d+) (?<stdout>\d+) (?<stderr>\d+))$/

/** The host's end of the command channel, see init-script.ts. The guest runs scripts one after another. */
export class Channel {
  readonly #socket: Duplex
  readonly #runs = new Map<number, Waiter<RunResult>>()
  #boot: Waiter<string> | undefined
  #received: Buffer = Buffer.alloc(0)
  #header: Record<string, string> | undefined
  #lastId = 0

  constructor(socket: Duplex) {
    this.#socket = socket
    socket.on('data', (bytes: Buffer) => {
      this.#received = Buffer.concat([this.#received, bytes])
      while (this.#frame());
    })
    socket.on('error', () => {}) // 'close' follows
    socket.on('close', () => {
      const error = new Error('the guest is gone')
      this.#boot?.reject(error)
      for (const waiter of this.#runs.values()) waiter.reject(error)
    })
  }

  /** Waits for the next boot to end; its boot id. Call it before what causes the boot. */
  ready(milliseconds: number): Promise<string> {
    const boot = new Promise<string>((resolve, reject) => {
      this.#boot = { resolve, reject }
    })
    return within(milliseconds, 'a guest that is ready', boot)
  }

  /** Sends a script whose end is not awaited. */
  send(script: string): number {
    const id = ++this.#lastId
    this.#socket.write(`${id} ${Buffer.from(script).toString('base64')}\n`)
    return id
  }

  /** Runs a script with the guest's shell. */
  run(script: string, milliseconds: number): Promise<RunResult> {
    const done = new Promise<RunResult>((resolve, reject) => {
      this.#runs.set(this.send(script), { resolve, reject })
    })
    return within(milliseconds, `end of this in the guest: ${script}`, done)
  }

  /** Takes one frame, or the header of one, off what was received. */
  #frame(): boolean {
    if (this.#header === undefined) {
      const end = this.#received.indexOf('\n')
      if (end < 0) return false
      const line = this.#received.toString('latin1', 0, end)
      this.#received = this.#received.subarray(end + 1)
      const fields = HEADER.exec(line)?.groups
      if (fields === undefined) throw new Error(`not of the channel's protocol: ${line}`)
      if (fields.bootId === undefined) this.#header = fields
      else this.#boot?.resolve(fields.bootId)
      return true
    }
    const out = Number(this.#header.stdout)
    const end = out + Number(this.#header.stderr)
    if (this.#received.length < end) return false
    const id = Number(this.#header.id)
    this.#runs.get(id)?.resolve({
      status: Number(this.#header.status),
      stdout: this.#received.toString('utf8', 0, out),
      stderr: this.#received.toString('utf8', out, end),
    })
    this.#runs.delete(id)
    this.#received = this.#received.subarray(end)
    this.#header = undefined
    return true
  }
}
