import { SENSE, type SenseCode } from './sense.js'

/** Linux errno values that a block driver may report (asm-generic/errno.h). */
export const ERRNO = {
  EPERM: 1,
  EIO: 5,
  ENXIO: 6,
  EBADF: 9,
  EAGAIN: 11,
  ENOMEM: 12,
  EACCES: 13,
  EBUSY: 16,
  ENODEV: 19,
  EINVAL: 22,
  EFBIG: 27,
  ENOSPC: 28,
  EROFS: 30,
  EBADE: 52,
  ENODATA: 61,
  EPROTO: 71,
  EOPNOTSUPP: 95,
  ENETDOWN: 100,
  ENETUNREACH: 101,
  ECONNABORTED: 103,
  ECONNRESET: 104,
  ENOTCONN: 107,
  ESHUTDOWN: 108,
  ETIMEDOUT: 110,
  ECONNREFUSED: 111,
  EHOSTUNREACH: 113,
  EREMOTEIO: 121,
  EDQUOT: 122,
  ENOMEDIUM: 123,
  ECANCELED: 125,
} as const

/**
 * The sense code for a failed operation on the medium: the one place where errno becomes sense.
 * @param errno positive; `writing`: whether the operation would have changed the medium (or made a change durable).
 */
export function senseFromErrno(errno: number, writing: boolean): SenseCode {
  switch (errno) {
    case ERRNO.EIO:
      return writing ? SENSE.WRITE_ERROR : SENSE.UNRECOVERED_READ_ERROR
    case ERRNO.ENODATA:
      return SENSE.UNRECOVERED_READ_ERROR
    case ERRNO.ENOSPC:
    case ERRNO.EDQUOT:
    case ERRNO.EFBIG:
      return SENSE.SPACE_ALLOCATION_FAILED_WRITE_PROTECT
    case ERRNO.EROFS:
    case ERRNO.EPERM:
    case ERRNO.EACCES:
      return writing ? SENSE.WRITE_PROTECTED : SENSE.IO_PROCESS_TERMINATED
    case ERRNO.ENOMEDIUM:
      return SENSE.MEDIUM_NOT_PRESENT
    case ERRNO.ENOMEM:
    case ERRNO.ENODEV:
    case ERRNO.ENXIO:
    case ERRNO.EBADF:
    case ERRNO.EREMOTEIO:
      return SENSE.INTERNAL_TARGET_FAILURE
    case ERRNO.ETIMEDOUT:
      return SENSE.COMMAND_TIMEOUT_DURING_PROCESSING
    case ERRNO.EPROTO:
    case ERRNO.ENETDOWN:
    case ERRNO.ENETUNREACH:
    case ERRNO.ECONNABORTED:
    case ERRNO.ECONNRESET:
    case ERRNO.ENOTCONN:
    case ERRNO.ESHUTDOWN:
    case ERRNO.ECONNREFUSED:
    case ERRNO.EHOSTUNREACH:
      return SENSE.LOGICAL_UNIT_COMMUNICATION_FAILURE
    default:
      return SENSE.IO_PROCESS_TERMINATED
  }
}
