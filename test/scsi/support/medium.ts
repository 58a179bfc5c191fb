import { ACTION, ERRNO, type Task } from '../../../scsi/index.js'

/** A medium in memory that runs the block operations of tasks, one after the other. */
export class Medium {
  readonly bytes: Uint8Array
  /** The operations run, as [action, offset, length, fua or mayUnmap]. */
  readonly log: [number, number, number, boolean][] = []
  /** errno for an action, once. */
  readonly faults = new Map<number, number>()

  constructor(size: number) {
    this.bytes = new Uint8Array(size)
  }

  /** Runs the operation in the task: its result, as ACTION says. */
  run(task: Task, dataOut: Uint8Array, dataIn: Uint8Array): number {
    const { action, offset, length, guestOffset } = task
    this.log.push([action, offset, length, action === ACTION.WRITE_ZEROES ? task.mayUnmap : task.fua])
    const fault = this.faults.get(action)
    if (fault !== undefined) {
      this.faults.delete(action)
      return -fault
    }
    if (action === ACTION.FLUSH) return 0
    // A driver may trust these: that they hold is for SCSI to see to.
    if (!(offset >= 0 && length > 0 && offset + length <= this.bytes.length)) return -ERRNO.EINVAL
    const range = this.bytes.subarray(offset, offset + length)
    switch (action) {
      case ACTION.READ:
        dataIn.set(range, guestOffset)
        return length
      case ACTION.WRITE:
      case ACTION.WRITE_ATOMIC:
        range.set(dataOut.subarray(guestOffset, guestOffset + length))
        return length
      case ACTION.DISCARD:
      case ACTION.WRITE_ZEROES:
        range.fill(0)
        return 0
      case ACTION.WRITE_PATTERN:
        for (let i = 0; i < length; i++) range[i] = dataOut[i % task.patternLength]!
        return 0
      case ACTION.COMPARE:
        for (let i = 0; i < length; i++) if (range[i] !== dataOut[guestOffset + i]) return i + 1
        return 0
      case ACTION.COMPARE_AND_WRITE:
        for (let i = 0; i < length; i++) if (range[i] !== dataOut[i]) return i + 1
        range.set(dataOut.subarray(length, 2 * length))
        return 0
      case ACTION.OR_WRITE:
        for (let i = 0; i < length; i++) range[i]! |= dataOut[i]!
        return length
      case ACTION.VERIFY:
      case ACTION.PREFETCH:
        return 0
      case ACTION.FIND_HOLE:
        return extent(range, false)
      case ACTION.FIND_DATA:
        return extent(range, true)
      default:
        throw new Error(`action ${action} is no block operation`)
    }
  }
}

/** Bytes at the start of a range that are all zeros: those are a hole, of any length; or (`data`) the contrary. */
function extent(range: Uint8Array, data: boolean): number {
  const end = range.findIndex((byte) => (byte === 0) === data)
  return end < 0 ? range.length : end
}
