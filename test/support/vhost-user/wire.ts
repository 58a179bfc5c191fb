import { MessageSocket } from 'memfd-mmap'
import type { ConnectionHandler, Message } from 'vhost-user-protocol-ts'

/** A message as a test keeps it. */
export interface Kept {
  request: number
  flags: number
  bytes: Uint8Array
  fds: number
}

/** Collects what a Connection delivers. */
export class Collector implements ConnectionHandler {
  readonly messages: Kept[] = []
  /** What `ended` was called with, once for each call. */
  readonly ends: unknown[] = []
  /** Called with each message before it counts as handled. */
  act: (message: Message) => void | Promise<void> = () => {}
  readonly #waiters: { done: () => boolean; resolve: () => void }[] = []

  async message(message: Message): Promise<void> {
    const { request, flags, bytes, fds } = message
    this.messages.push({ request, flags, bytes: bytes.slice(), fds: fds.length })
    this.#wake()
    await this.act(message)
  }

  ended(reason: unknown): void {
    this.ends.push(reason)
    this.#wake()
  }

  /** Resolves when `count` messages have arrived. */
  received(count: number): Promise<void> {
    return this.#until(() => this.messages.length >= count)
  }

  /** Resolves when the connection is over. */
  over(): Promise<void> {
    return this.#until(() => this.ends.length > 0)
  }

  #until(done: () => boolean): Promise<void> {
    return new Promise((resolve) => {
      this.#waiters.push({ done, resolve })
      this.#wake()
    })
  }

  #wake(): void {
    for (const waiter of this.#waiters) if (waiter.done()) waiter.resolve()
  }
}

/** Sends all of it; the socket must have room. */
export const put = (fd: number, bytes: Uint8Array, fds: readonly number[] = []): void => {
  const sent = new MessageSocket(fd).send(bytes, 0, bytes.length, fds)
  if (sent !== bytes.length) throw new Error(`${sent} of ${bytes.length} bytes sent`)
}

/** What has arrived and was not read: up to 64 KiB and its descriptors. Undefined when there is nothing. */
export const take = (fd: number): { bytes: Uint8Array; fds: number[] } | undefined => {
  const buffer = new Uint8Array(65536)
  const fds: number[] = []
  const got = new MessageSocket(fd).receive(buffer, 0, buffer.length, fds)
  return got > 0 ? { bytes: buffer.subarray(0, got), fds } : undefined
}

/** The next turn of the event loop, after all polls have been looked at. */
export const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))
