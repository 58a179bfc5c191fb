/** LUNs whose images grow while they are served. */
import { fileSize } from 'memfd-mmap'
import { EVENT_TYPE } from 'vhost-user-protocol-ts'
import { changeCapacity, SENSE } from '../scsi/index.js'
import { errorCode, errorReason } from './errors.js'
import type { Log } from './log.js'
import type { Lun } from './lun.js'
import { LunError } from './lun-error.js'

/** Reason of a PARAM_CHANGE event: additional sense code in the low byte, its qualifier in the next (virtio 1.3 5.6.6.3). */
const CAPACITY_CHANGED = eventReason(SENSE.CAPACITY_DATA_HAS_CHANGED)

/** The reason of an event that tells of a unit attention. */
export function eventReason(sense: number): number {
  return ((sense >>> 8) & 0xff) | ((sense & 0xff) << 8)
}

/** What is served now. */
export interface ServedSize {
  /** Bytes. */
  readonly size: number
  /** More than before. */
  readonly grown: boolean
}

/**
 * Looks at the size of a LUN's image anew. If it has grown, the new size is served, up to the last whole block, and every
 * initiator is told: by a unit attention, and by an event where its driver takes part in those.
 *
 * @throws LunError ENOTSUP: this kind of disk does not change its size; EINVAL: the image has shrunk, and what is served
 *   stays as it is; else the system's: the image cannot be looked at
 */
export function refreshLun(lun: Lun, log: Log): ServedSize {
  const { config, medium, state, nexuses } = lun
  const { id, path, blockSize } = config
  if (medium.kind !== 'file') throw new LunError('ENOTSUP', `LUN "${id}": the size of a ${medium.kind} disk is fixed`)
  const bytes = sizeOf(medium.fd, `LUN "${id}": ${path}`)
  const served = state.capacity * blockSize
  if (bytes < served) {
    throw new LunError(
      'EINVAL',
      `LUN "${id}": ${path}: has shrunk to ${bytes} bytes, but ${served} are served, and that cannot get less`,
    )
  }
  const left = bytes % blockSize
  if (left !== 0) {
    log.warn(
      { lun: id, size: bytes },
      `lun "${id}": the size ${bytes} is not a multiple of the block size ${blockSize}: the last ${left} bytes are not served`,
    )
  }
  const size = bytes - left
  if (size === served) return { size, grown: false }
  changeCapacity(state, size / blockSize, nexuses)
  for (const nexus of nexuses) nexus.announce(EVENT_TYPE.PARAM_CHANGE, CAPACITY_CHANGED)
  log.info({ lun: id, size }, `lun "${id}" has grown from ${served} to ${size} bytes`)
  return { size, grown: true }
}

function sizeOf(fd: number, what: string): number {
  try {
    return fileSize(fd)
  } catch (error) {
    throw new LunError(errorCode(error), `${what}: ${errorReason(error)}`, { cause: error })
  }
}
