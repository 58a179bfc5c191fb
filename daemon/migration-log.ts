import { DeviceError, MappedArea, type SharedArea, type SharedPart } from 'vhost-user-protocol-ts'

/** A log is marked in words of 32 bits. */
const WORD = 4

/** The dirty log of a live migration (vhost-user.rst "Migration"), as the main thread has it mapped. */
export class MigrationLog {
  /** VHOST_F_LOG_ALL: writes are to be logged, if there is a log. */
  enabled = false
  #area: MappedArea | undefined

  /**
   * Maps what SET_LOG_BASE gives. Nothing is logged there before `replace`.
   *
   * @throws DeviceError VUS_LOG_SIZE, and those of MappedArea
   */
  static map({ fd, size, offset }: SharedPart): MappedArea {
    if (size % WORD !== 0)
      throw new DeviceError('VUS_LOG_SIZE', `a dirty log of ${size} bytes is no multiple of ${WORD}`)
    return new MappedArea(fd, offset, size, 'dirty log')
  }

  /** Where writes are to be logged by now; undefined: nowhere. */
  get area(): SharedArea | undefined {
    return this.enabled ? this.#area : undefined
  }

  /** Makes `area` the log. Answers the one before, to be unmapped when no thread has a view of it. */
  replace(area: MappedArea | undefined): MappedArea | undefined {
    const old = this.#area
    this.#area = area
    return old
  }
}
