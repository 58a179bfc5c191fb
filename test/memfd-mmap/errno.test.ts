import { constants } from 'node:os'
import { ERRNO, errnoName, openFd, SystemError } from 'memfd-mmap'
import t from 'tap'

t.test('errnoName names what the kernel answers, by the usual one of two names', async (t) => {
  t.equal(errnoName(22), 'EINVAL')
  t.equal(errnoName(11), 'EAGAIN')
  t.equal(errnoName(35), 'EDEADLK')
  t.equal(errnoName(95), 'EOPNOTSUPP')
  t.equal(errnoName(121), 'EREMOTEIO')
  t.equal(errnoName(99_999), 'E99999')
})

t.test('ERRNO agrees with Node', async (t) => {
  t.ok(Object.keys(constants.errno).length > 70)
  t.match(ERRNO, constants.errno)
})

t.test('SystemError carries code, positive errno and syscall', async (t) => {
  const error = new SystemError('mmap', -12, 'too much')
  t.ok(error instanceof Error)
  t.match(error, { name: 'SystemError', code: 'ENOMEM', errno: 12, syscall: 'mmap', message: 'mmap: ENOMEM: too much' })
  t.match(new SystemError('open', 2), { code: 'ENOENT', errno: 2, message: 'open: ENOENT' })
  t.throws(() => openFd('/nonexistent/x', 0), { name: 'SystemError', code: 'ENOENT', errno: 2, syscall: 'open' })
})
