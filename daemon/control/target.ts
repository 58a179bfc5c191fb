/**
 * What the control API can do with a running daemon: the daemon implements this, the server calls it. The values are
 * those of the API (schemas.ts), so that nothing is translated on the way.
 */
import type { z } from 'zod'
import type * as schemas from './schemas.js'

export type StatusInfo = z.output<typeof schemas.statusSchema>
export type StopInfo = z.output<typeof schemas.stopSchema>
export type IothreadInfo = z.output<typeof schemas.iothreadSchema>
export type NewIothread = z.output<typeof schemas.newIothreadSchema>
export type QueueInfo = z.output<typeof schemas.queueSchema>
export type QueueMove = z.output<typeof schemas.queueMoveSchema>
export type LunInfo = z.output<typeof schemas.lunSchema>
export type LunAttachment = z.output<typeof schemas.lunAttachmentSchema>
export type LunPlaceInfo = z.output<typeof schemas.lunPlaceSchema>
export type LunSize = z.output<typeof schemas.lunSizeSchema>

/**
 * A call that cannot be done throws a ControlError, or rejects with one; anything else that is thrown is taken for a bug of
 * the daemon and told as such, without its text. addIothread, freeIothread, attachQueue, attachLun and detachLun are called one at a
 * time: the next one begins when the last has settled. The others may overlap with them and with each other.
 */
export interface ControlTarget {
  status(): StatusInfo
  /**
   * Ends the daemon; resolves when it serves nothing any more. EAGAIN: it is still starting. ESHUTDOWN: it is stopping
   * already.
   */
  stop(): Promise<StopInfo>
  iothreads(): IothreadInfo[]
  queues(): QueueInfo[]
  luns(): LunInfo[]
  /**
   * Starts an IOThread that serves nothing yet (vhost's NEW_WORKER). Without an id the daemon picks one.
   * EEXIST: the id is taken. EINVAL: it cannot run on those CPUs. EAGAIN: the system gives no thread.
   */
  addIothread(settings: NewIothread): Promise<IothreadInfo>
  /** Ends an IOThread (FREE_WORKER). ENODEV: unknown. EBUSY: it serves queues. */
  freeIothread(id: string): Promise<void>
  /**
   * Gives a request queue to an IOThread, whether it is started or not (ATTACH_VRING_WORKER); to the one that has it already
   * is no error. ENOENT: unknown controller. ENOBUFS: no such queue. ENODEV: unknown IOThread.
   */
  attachQueue(controller: string, queue: number, iothread: string): Promise<QueueMove>
  /** One queue, and so the IOThread that serves it (GET_VRING_WORKER). ENOENT: unknown controller. ENOBUFS: no such queue. */
  queue(controller: string, queue: number): QueueInfo
  /** Lets a LUN whose flush has failed be written to again. ENOENT: unknown LUN. No error where there is no such fault. */
  clearFault(lun: string): Promise<void>
  /**
   * Looks at the size of a LUN's image anew and, where it has grown, serves it and tells the guests. ENOENT: unknown LUN.
   * ENOTSUP: its size is fixed, as a memory or null disk's is. EINVAL: the image has shrunk, or is empty. EIO and the
   * like: it cannot be looked at.
   */
  refreshLun(lun: string): Promise<LunSize>
  /**
   * Gives a LUN of the configuration to a controller while its guest runs, and tells the guest. ENOENT: unknown controller or
   * LUN. EEXIST: the controller has it, or the address is taken. EBUSY: someone else writes to it. EINVAL: no LUN number
   * of the target is free.
   */
  attachLun(controller: string, attachment: LunAttachment): Promise<LunPlaceInfo>
  /** Takes a LUN away from a controller, when what is in flight has ended. ENOENT: unknown controller, or it has no such LUN. */
  detachLun(controller: string, lun: string): Promise<void>
}

/** HTTP statuses of refusals. */
export const REFUSALS = {
  /** What is asked for makes no sense. */
  EINVAL: 400,
  /** No such controller or LUN. */
  ENOENT: 404,
  /** No such IOThread (vhost: no such worker). */
  ENODEV: 404,
  /** No such queue (vhost: ring index out of range). */
  ENOBUFS: 404,
  /** It is in use: an IOThread serves queues, someone else writes to a LUN. */
  EBUSY: 409,
  EEXIST: 409,
  /** This kind of disk cannot do it. */
  ENOTSUP: 409,
  /** The medium fails. */
  EIO: 500,
  /** The system has not got what it takes, now. */
  EAGAIN: 503,
  /** The daemon is about to end. */
  ESHUTDOWN: 503,
} as const
export type RefusalCode = keyof typeof REFUSALS

/** A refusal that the caller of the API is told, code and message. */
export class ControlError extends Error {
  readonly code: RefusalCode

  /** @param message one line: what is refused, and why */
  constructor(code: RefusalCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = 'ControlError'
    this.code = code
  }
}
