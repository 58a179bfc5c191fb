import { constants } from 'node:os'
import t from 'tap'
import { ERRNO, senseFromErrno } from '../../scsi/errno.js'
import { SENSE } from '../../scsi/sense.js'

t.test('the numbers are the system’s', async (t) => {
  const system: Record<string, number> = constants.errno
  for (const [name, value] of Object.entries(ERRNO)) if (name in system) t.equal(value, system[name], name)
})

t.test('reading and writing fail differently', async (t) => {
  t.equal(senseFromErrno(ERRNO.EIO, false), SENSE.UNRECOVERED_READ_ERROR)
  t.equal(senseFromErrno(ERRNO.EIO, true), SENSE.WRITE_ERROR)
  t.equal(senseFromErrno(ERRNO.EROFS, true), SENSE.WRITE_PROTECTED)
  t.equal(senseFromErrno(ERRNO.EROFS, false), SENSE.IO_PROCESS_TERMINATED)
})

t.test('the rest by kind', async (t) => {
  const expected: [number, number][] = [
    [ERRNO.ENOSPC, SENSE.SPACE_ALLOCATION_FAILED_WRITE_PROTECT],
    [ERRNO.EDQUOT, SENSE.SPACE_ALLOCATION_FAILED_WRITE_PROTECT],
    [ERRNO.ENODATA, SENSE.UNRECOVERED_READ_ERROR],
    [ERRNO.ENOMEDIUM, SENSE.MEDIUM_NOT_PRESENT],
    [ERRNO.ENOMEM, SENSE.INTERNAL_TARGET_FAILURE],
    [ERRNO.EREMOTEIO, SENSE.INTERNAL_TARGET_FAILURE],
    [ERRNO.ETIMEDOUT, SENSE.COMMAND_TIMEOUT_DURING_PROCESSING],
    [ERRNO.ECONNRESET, SENSE.LOGICAL_UNIT_COMMUNICATION_FAILURE],
    [ERRNO.EINVAL, SENSE.IO_PROCESS_TERMINATED],
    [9999, SENSE.IO_PROCESS_TERMINATED],
  ]
  for (const [errno, sense] of expected) t.equal(senseFromErrno(errno, true), sense, `${errno}`)
})
