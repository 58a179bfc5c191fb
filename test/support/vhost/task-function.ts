import { TMF_REQUEST, TMF_RESPONSE } from 'vhost-user-protocol-ts'
import { DeadlineError } from '../deadline.js'
import { bytesOf } from './arena.js'
import type { Initiator } from './initiator.js'
import { cut, poisonResponse, writeTmf } from './scsi-request.js'

/** How a function was answered, and what the request rings showed right then: their used indexes. */
export interface FunctionAnswer {
  readonly response: number
  readonly used: readonly number[]
}

/** Looks at the ring between two turns of the event loop, so often that what comes after the answer is not there yet. */
const LOOKS = 2000

/**
 * Asks for task management functions and watches the control ring for their answers, not its interrupt: so that what is
 * in the request rings at that moment was there before the answer.
 */
export class TaskFunctionAsker {
  readonly #initiator: Initiator
  readonly #deadline: number
  readonly #request
  readonly #response

  constructor(initiator: Initiator, deadline: number) {
    this.#initiator = initiator
    this.#deadline = deadline
    this.#request = initiator.memory.allocate(TMF_REQUEST.SIZE, 64)
    this.#response = initiator.memory.allocate(TMF_RESPONSE.SIZE, 64)
  }

  /** @param prepared called when the function is in the ring, right before it is shown to the device */
  async ask(
    subtype: number,
    target: number,
    lun: number,
    tag: number,
    prepared = (): void => {},
  ): Promise<FunctionAnswer> {
    const { control, queues } = this.#initiator
    const end = performance.now() + this.#deadline
    writeTmf(bytesOf(this.#request), subtype, target, lun, tag)
    poisonResponse(bytesOf(this.#response))
    const before = control.driver.deviceUsedIndex
    const { done } = control.add([...cut(this.#request, false), ...cut(this.#response, true)])
    prepared()
    control.publish()
    for (;;) {
      for (let look = 0; look < LOOKS; look++) {
        if (control.driver.deviceUsedIndex === before) continue
        const used = queues.map(({ driver }) => driver.deviceUsedIndex)
        control.collect()
        await done
        for (const queue of queues) queue.collect()
        return { response: bytesOf(this.#response)[TMF_RESPONSE.RESPONSE]!, used }
      }
      if (performance.now() > end) throw new DeadlineError(`function ${subtype}`, this.#deadline)
      await new Promise((resolve) => setImmediate(resolve))
    }
  }
}
