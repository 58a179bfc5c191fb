import { INFLIGHT_UNUSABLE } from 'vhost-user-protocol-ts'
import type { HostRing, IoThread, QueueStatistics } from '../iothreads/index.js'
import { inflightUnusable } from './inflight-buffers.js'
import type { RingServer } from './ring.js'

/** The part of an IOThread's handle that takes commands. */
export type Sender = Pick<IoThread, 'send'>

/** Serves a request virtqueue on an IOThread: the one that `place` names when the ring starts. */
export class RequestRing implements RingServer {
  readonly #controller: string
  readonly #index: number
  readonly #statistics: QueueStatistics
  readonly #place: () => Sender
  #iothread: Sender | undefined

  /** @param index of the virtqueue */
  constructor(controller: string, index: number, statistics: QueueStatistics, place: () => Sender) {
    this.#controller = controller
    this.#index = index
    this.#statistics = statistics
    this.#place = place
  }

  async start(ring: HostRing): Promise<void> {
    const iothread = this.#place()
    const queue = { ...ring, statistics: this.#statistics.memory }
    const result = await iothread.send({ type: 'startQueue', controller: this.#controller, queue })
    if (result === INFLIGHT_UNUSABLE) throw inflightUnusable(this.#index)
    this.#iothread = iothread
  }

  stop(): Promise<number> {
    return this.#iothread!.send({ type: 'stopQueue', ...this.#name })
  }

  async setCall(fd: number): Promise<void> {
    await this.#iothread!.send({ type: 'setCall', ...this.#name, callFd: fd })
  }

  async setErr(fd: number): Promise<void> {
    await this.#iothread!.send({ type: 'setErr', ...this.#name, errFd: fd })
  }

  get #name(): { controller: string; index: number } {
    return { controller: this.#controller, index: this.#index }
  }
}
