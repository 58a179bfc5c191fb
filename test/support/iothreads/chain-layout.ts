import { type ChainSegment, CMD_REQUEST, CMD_RESPONSE, type DriverAllocation } from 'vhost-user-protocol-ts'
import { bytesOf } from '../vhost/arena.js'
import { poisonResponse, readResult, type ScsiCommand, type ScsiResult, writeCommand } from '../vhost/scsi-request.js'

/** How the two halves of a request are cut into buffers: lengths, the last buffer takes what is left. */
export interface Layout {
  /** Of header and data-out. Default: header, data. */
  readonly out?: readonly number[]
  /** Of response and data-in. Default: response, data. */
  readonly in?: readonly number[]
  /** Bytes between two buffers, taken in turn. Default: none. */
  readonly gaps?: readonly number[]
}

/** A request in guest memory, in buffers of any size at any place (virtio 1.3 2.7.4.3: no framing is assumed). */
export interface LaidOut {
  readonly segments: ChainSegment[]
  /** The answer, once it is there. */
  result(usedLength: number): ScsiResult
  /** Bytes between the buffers that are not as they were: nothing may write there. */
  strayBytes(): number
}

const GAP = 0xa5

/** Lays requests out in `area`, from its start on; each one overwrites the one before. */
export class ChainLayout {
  readonly #bytes: Uint8Array
  readonly #address: number

  constructor(area: DriverAllocation) {
    this.#bytes = bytesOf(area)
    this.#address = area.address
  }

  lay(command: ScsiCommand, layout: Layout = {}, tag = command.tag ?? 0): LaidOut {
    const readable = new Uint8Array(CMD_REQUEST.SIZE + (command.dataOut?.length ?? 0))
    writeCommand(readable, command, tag)
    if (command.dataOut !== undefined) readable.set(command.dataOut, CMD_REQUEST.SIZE)
    const writable = new Uint8Array(CMD_RESPONSE.SIZE + (command.dataIn ?? 0))
    poisonResponse(writable.subarray(0, CMD_RESPONSE.SIZE))
    const gaps = layout.gaps ?? [0]
    const segments: ChainSegment[] = []
    const empty: [number, number][] = []
    let end = 0
    const put = (stream: Uint8Array, cuts: readonly number[], isWritable: boolean): number => {
      const first = segments.length
      for (let i = 0, done = 0; i < cuts.length || done < stream.length; i++) {
        const length = Math.min(cuts[i] ?? stream.length - done, stream.length - done)
        const gap = gaps[segments.length % gaps.length]!
        this.#bytes.fill(GAP, end, end + gap)
        empty.push([end, end + gap])
        end += gap
        if (end + length > this.#bytes.length) throw new RangeError('the area is too small')
        this.#bytes.set(stream.subarray(done, done + length), end)
        segments.push({ address: this.#address + end, length, writable: isWritable })
        end += length
        done += length
      }
      return first
    }
    put(readable, layout.out ?? [CMD_REQUEST.SIZE], false)
    const firstWritable = put(writable, layout.in ?? [CMD_RESPONSE.SIZE], true)
    return {
      segments,
      result: (usedLength) => {
        let done = 0
        for (const { address, length } of segments.slice(firstWritable)) {
          const at = address - this.#address
          writable.set(this.#bytes.subarray(at, at + length), done)
          done += length
        }
        return readResult(writable.slice(0, CMD_RESPONSE.SIZE), writable.slice(CMD_RESPONSE.SIZE), usedLength)
      },
      strayBytes: () => {
        let changed = 0
        for (const [from, to] of empty) for (let i = from; i < to; i++) if (this.#bytes[i] !== GAP) changed++
        return changed
      },
    }
  }
}
