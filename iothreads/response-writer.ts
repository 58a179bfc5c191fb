import { CMD_RESPONSE, type GuestMemory } from 'vhost-user-protocol-ts'
import type { Request } from './request.js'

const { SENSE_LEN, RESIDUAL, STATUS_QUALIFIER, SENSE } = CMD_RESPONSE

/** Clears the 96 bytes of sense data of the response at `at`. */
function clearSense(view: DataView, at: number): void {
  const sense = at + SENSE
  for (let i = 0; i < 96; i += 8) view.setFloat64(sense + i, 0)
}

/** Writes virtio_scsi_req_cmd responses (virtio 1.3 5.6.6.1) to where the request's chain wants them. */
export class ResponseWriter {
  readonly #memory: GuestMemory
  /** Where a response is put together that goes out in pieces. */
  readonly #pieces = new Uint8Array(CMD_RESPONSE.SIZE)
  readonly #piecesView = new DataView(this.#pieces.buffer)

  constructor(memory: GuestMemory) {
    this.#memory = memory
  }

  /**
   * All 108 bytes, since the used length counts them (virtio 1.3 2.7.8.2). Sense data and status come from the task when
   * `response` is OK.
   */
  write(request: Request, response: number, status: number, senseLength: number, residual: number): void {
    if (request.responseWindow >= 0) {
      this.#put(
        this.#memory.views[request.responseWindow]!,
        request.responseOffset,
        request,
        response,
        status,
        senseLength,
        residual,
      )
    } else if (request.scatterCount > 0) {
      this.#put(this.#piecesView, 0, request, response, status, senseLength, residual)
      this.#scatter(request)
    }
  }

  /** The response of a command that ended with OK and GOOD. */
  good(request: Request, residual: number): void {
    if (request.responseWindow < 0) {
      this.write(request, 0, 0, 0, residual)
      return
    }
    const view = this.#memory.views[request.responseWindow]!
    const at = request.responseOffset
    view.setUint32(at + SENSE_LEN, 0, true)
    view.setUint32(at + RESIDUAL, residual, true)
    view.setUint32(at + STATUS_QUALIFIER, 0, true)
    clearSense(view, at)
  }

  #put(
    view: DataView,
    at: number,
    request: Request,
    response: number,
    status: number,
    senseLength: number,
    residual: number,
  ): void {
    view.setUint32(at + CMD_RESPONSE.SENSE_LEN, senseLength, true)
    view.setUint32(at + CMD_RESPONSE.RESIDUAL, residual, true)
    view.setUint32(at + CMD_RESPONSE.STATUS_QUALIFIER, (status << 16) | (response << 24), true)
    clearSense(view, at)
    if (senseLength > 0) {
      const sense = at + SENSE
      const bytes = request.task.sense
      for (let i = 0; i < senseLength; i++) view.setUint8(sense + i, bytes[i]!)
    }
  }

  #scatter(request: Request): void {
    let offset = 0
    for (let i = 0; i < request.scatterCount; i++) {
      const length = request.scatter![2 * i + 1]!
      this.#memory.write(request.scatter![2 * i]!, this.#pieces, offset, length)
      offset += length
    }
  }
}
