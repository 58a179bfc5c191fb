import { fileSize, MAX_VIEW, Mapping, SystemError } from 'memfd-mmap'
import { DeviceError } from '../vhost-user/backend-device.js'

/** Mapped memory as every thread may view it (viewMemory). Plain data. */
export interface SharedArea {
  readonly address: number
  readonly length: number
}

/** What is written with wider stores must lie on a multiple of it. */
const ALIGNMENT = 8

/**
 * A part of a file that the front end shares, besides the guest's memory: the inflight buffer, the dirty log. The thread
 * that maps it unmaps it, when no thread has a view of it any more.
 */
export class MappedArea implements SharedArea {
  readonly address: number
  readonly length: number
  readonly #mapping: Mapping

  /**
   * @param fd not kept @param what how to call it in messages
   * @throws {DeviceError} VUS_AREA_RANGE, VUS_AREA_FILE_SIZE, VUS_AREA_MAP
   */
  constructor(fd: number, offset: number, length: number, what: string) {
    if (length === 0 || length > MAX_VIEW || offset % ALIGNMENT !== 0) {
      throw new DeviceError('VUS_AREA_RANGE', `${what}: ${length} bytes at ${offset} cannot be used`)
    }
    try {
      const bytes = fileSize(fd)
      if (bytes < offset + length) {
        const detail = `${what}: ${length} bytes at ${offset} in a file of ${bytes}`
        throw new DeviceError('VUS_AREA_FILE_SIZE', detail)
      }
      // From the file's start on: a mapping takes no other offset than multiples of the page size.
      this.#mapping = Mapping.map({ fd, length: offset + length })
    } catch (error) {
      if (error instanceof SystemError) throw new DeviceError('VUS_AREA_MAP', `${what}: ${error.message}`)
      throw error
    }
    this.address = this.#mapping.address + offset
    this.length = length
  }

  /** No thread has a view of it. */
  unmap(): void {
    this.#mapping.unmap()
  }
}
