/** The control queue (virtio 1.3 5.6.6.2): task management and asynchronous notification requests. */
import {
  AN_REQUEST,
  AN_RESPONSE,
  CONTROL_TYPE,
  decodeLun,
  type GuestMemory,
  RESPONSE,
  TMF_REQUEST,
  TMF_RESPONSE,
} from 'vhost-user-protocol-ts'
import type { HostRing } from '../iothreads/index.js'
import { MainQueue, type MainRequest } from './main-queue.js'

/** A decoded task management request. */
export interface TaskManagementRequest {
  /** TMF. */
  readonly function: number
  readonly target: number
  /** 0..16383, WLUN_REPORT_LUNS, or LUN_INVALID. */
  readonly lun: number
  /** The tag as two signed halves, low first. */
  readonly tag: readonly [number, number]
  readonly epoch: Epoch
}

/** The time for which a request counts: until the device is reset, or the connection ends. */
export interface Epoch {
  /** Nobody waits for the response any more, and new commands are not to suffer. */
  readonly over: boolean
}

/** Carries out a task management function; resolves with its RESPONSE when all that it ended is answered. */
export type TaskManager = (request: TaskManagementRequest) => Promise<number>

/** Requests that are served before the main loop, which others need too, gets its turn. */
const BATCH = 32

export class ControlQueue {
  readonly #queue: MainQueue
  readonly #manage: TaskManager
  readonly #failed: (error: unknown) => void
  readonly #pending = new Set<Promise<void>>()
  readonly #epoch = { over: false }
  readonly #discarded: Promise<void>
  #resolveDiscarded: () => void = () => {}
  #stopping = false
  #held: boolean

  /**
   * @param fault the ring is broken @param failed a task management function ended in an error of ours
   * @param held takes nothing before `release`
   */
  constructor(
    ring: HostRing,
    memory: GuestMemory,
    manage: TaskManager,
    fault: (code: string) => void,
    failed: (error: unknown) => void,
    held = false,
  ) {
    this.#held = held
    this.#manage = manage
    this.#failed = failed
    this.#discarded = new Promise((resolve) => {
      this.#resolveDiscarded = resolve
    })
    this.#queue = new MainQueue(ring, memory, () => this.#drain(), fault)
    this.#drain()
  }

  setCall(fd: number): void {
    this.#queue.setCall(fd)
  }

  setErr(fd: number): void {
    this.#queue.setErr(fd)
  }

  /** Takes requests from now on. */
  release(): void {
    this.#held = false
    this.#drain()
  }

  #drain(): void {
    for (let served = 0; !this.#stopping && !this.#held; served++) {
      if (served === BATCH) {
        setImmediate(() => this.#drain())
        return
      }
      const request = this.#queue.take()
      if (request === undefined) return
      this.#serve(request)
    }
  }

  #serve(request: MainRequest): void {
    const { readable } = request
    const view = new DataView(readable.buffer, readable.byteOffset, readable.length)
    const type = readable.length >= 4 ? view.getUint32(0, true) : -1
    if (type === CONTROL_TYPE.TMF && readable.length >= TMF_REQUEST.SIZE) {
      const done = this.#taskManagement(request, view).catch((error) => {
        if (!this.#epoch.over) this.#failed(error)
      })
      this.#pending.add(done)
      done.then(() => this.#pending.delete(done))
    } else if (
      (type === CONTROL_TYPE.AN_QUERY || type === CONTROL_TYPE.AN_SUBSCRIBE) &&
      readable.length >= AN_REQUEST.SIZE
    ) {
      // A disk has none of the events that can be asked for (virtio 1.3 5.6.6.2): event_actual is 0.
      this.#queue.answer(request, new Uint8Array(AN_RESPONSE.SIZE))
    } else {
      // Of no form that is known, so neither is the place of a response.
      this.#queue.answer(request, new Uint8Array(0))
    }
  }

  async #taskManagement(request: MainRequest, view: DataView): Promise<void> {
    const byte = (i: number): number => view.getUint8(TMF_REQUEST.LUN + i)
    const answer = new Uint8Array(TMF_RESPONSE.SIZE)
    answer[TMF_RESPONSE.RESPONSE] = RESPONSE.FAILURE
    try {
      answer[TMF_RESPONSE.RESPONSE] = await this.#manage({
        function: view.getUint32(TMF_REQUEST.SUBTYPE, true),
        target: byte(1),
        lun: decodeLun(byte(0), byte(1), byte(2), byte(3)),
        tag: [view.getInt32(TMF_REQUEST.TAG, true), view.getInt32(TMF_REQUEST.TAG + 4, true)],
        epoch: this.#epoch,
      })
    } finally {
      this.#queue.answer(request, answer)
    }
  }

  /** Takes no more requests; resolves with the next available index when those taken are answered. */
  async stop(): Promise<number> {
    this.#stopping = true
    // These count as taken: nobody who goes on at the next available index would see them.
    while (this.#queue.unresumed > 0 && !this.#held) {
      const request = this.#queue.take()
      if (request !== undefined) this.#serve(request)
    }
    await Promise.race([Promise.all(this.#pending), this.#discarded])
    this.#queue.close()
    return this.#queue.base
  }

  /** The epoch is over: takes no more requests, and answers none of those taken. `stop` does not wait for them either. */
  discard(): void {
    this.#stopping = true
    this.#epoch.over = true
    this.#queue.close()
    this.#resolveDiscarded()
  }
}
