import { ERRNO } from 'memfd-mmap'
import type { TaskAnswer } from '../scsi/index.js'
import { PENDING } from './block-io.js'
import type { ForwardedCommand, ForwardedName } from './messages.js'
import type { Request } from './request.js'

/** Commands of a controller that an IOThread has forwarded at once: what they take is the guest's to choose. */
export const MAX_FORWARDED = 64

/** Who ends a request when its answer comes. */
export interface Concluding {
  /** The server has answered, in the order in which the answers come. */
  concluded(request: Request, answer: TaskAnswer): void
}

export interface ForwardingMessages {
  /** What the command holds is not used any more by whoever calls. */
  forward(command: ForwardedCommand): void
  recall(name: ForwardedName): void
}

interface Forwarded {
  readonly queue: Concluding
  readonly request: Request
}

/**
 * Commands of one controller in one IOThread that the main thread executes (ACTION.FORWARD). The request stays as it is until the answer
 * comes, and is in flight for everybody who waits for that.
 */
export class Forwarding {
  readonly #controller: string
  readonly #messages: ForwardingMessages
  readonly #forwarded = new Map<number, Forwarded>()
  #last = 0

  constructor(controller: string, messages: ForwardingMessages) {
    this.#controller = controller
    this.#messages = messages
  }

  /** Forwards the request's task: PENDING, or -EAGAIN if too many are on their way. */
  forward(queue: Concluding, request: Request): number {
    if (this.#forwarded.size >= MAX_FORWARDED) return -ERRNO.EAGAIN
    const { task } = request
    const ticket = ++this.#last
    request.ticket = ticket
    this.#forwarded.set(ticket, { queue, request })
    this.#messages.forward({
      ...this.#name(request),
      cdb: task.cdbBytes.slice(),
      // Of a command with data-out, transferLength is what its parameter list has.
      parameters: task.parameters.slice(0, task.transferLength),
      dataInLength: task.dataInLength,
    })
    return PENDING
  }

  /** Asks for the end of a forwarded request that has been cancelled. */
  recall(request: Request): void {
    this.#messages.recall(this.#name(request))
  }

  #name({ target, lun, ticket }: Request): ForwardedName {
    return { controller: this.#controller, target, lun, ticket }
  }

  /** An answer has come; nothing happens unless somebody waits for it. */
  conclude(ticket: number, answer: TaskAnswer): void {
    const forwarded = this.#forwarded.get(ticket)
    if (forwarded === undefined) return
    this.#forwarded.delete(ticket)
    forwarded.request.ticket = 0
    forwarded.queue.concluded(forwarded.request, answer)
  }
}
