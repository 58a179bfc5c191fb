import { constants, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { close, dup, lockRange, openFd, queryLock } from 'memfd-mmap'
import t, { type Test } from 'tap'

const EAGAIN = 11
const EBADF = 9

const directory = mkdtempSync(join(tmpdir(), 'memfd-mmap-'))
t.teardown(() => rmSync(directory, { recursive: true, force: true }))

/** Two open file descriptions of one file. */
function twice(t: Test, name: string, second = constants.O_RDWR): [number, number] {
  const path = join(directory, name)
  const a = openFd(path, constants.O_RDWR | constants.O_CREAT)
  const b = openFd(path, second)
  t.teardown(() => {
    close(a)
    close(b)
  })
  return [a, b]
}

t.test('shared locks go together, exclusive ones do not', async (t) => {
  const [a, b] = twice(t, 'modes')
  t.equal(lockRange(a, 'shared', 100, 2), 0)
  t.equal(lockRange(b, 'shared', 100, 2), 0)
  t.equal(queryLock(b, 'exclusive', 100, 2), -EAGAIN)
  t.equal(lockRange(b, 'exclusive', 100, 2), -EAGAIN)
  t.equal(lockRange(a, 'unlock', 100, 2), 0)
  t.equal(queryLock(b, 'exclusive', 100, 2), 0)
  t.equal(lockRange(b, 'exclusive', 100, 2), 0, 'upgraded in place')
  t.equal(lockRange(a, 'shared', 101, 1), -EAGAIN)
  t.equal(queryLock(a, 'shared', 101, 1), -EAGAIN)
})

t.test(
  'ranges: neighbours do not conflict, length 0 is everything from there, positions are 64 bits wide',
  async (t) => {
    const [a, b] = twice(t, 'ranges')
    const far = 2 ** 40 + 5
    t.equal(lockRange(a, 'exclusive', far, 10), 0)
    t.equal(queryLock(b, 'exclusive', far - 1, 1), 0)
    t.equal(queryLock(b, 'exclusive', far + 10, 1), 0)
    t.equal(queryLock(b, 'exclusive', far + 9, 1), -EAGAIN)
    t.equal(queryLock(b, 'exclusive', 5, 10), 0, 'not modulo 2^32')
    t.equal(queryLock(b, 'shared', 0, 0), -EAGAIN)
    t.equal(lockRange(a, 'unlock', far, 5), 0)
    t.equal(queryLock(b, 'shared', far, 5), 0)
    t.equal(queryLock(b, 'shared', far, 6), -EAGAIN)
  },
)

t.test('a lock belongs to the description: a duplicate shares it, the last close drops it', async (t) => {
  const path = join(directory, 'owner')
  const a = openFd(path, constants.O_RDWR | constants.O_CREAT)
  const copy = dup(a)
  const b = openFd(path, constants.O_RDWR)
  t.teardown(() => close(b))
  t.equal(lockRange(a, 'exclusive', 0, 0), 0)
  t.equal(lockRange(copy, 'exclusive', 0, 0), 0)
  close(a)
  t.equal(lockRange(b, 'shared', 0, 1), -EAGAIN)
  close(copy)
  t.equal(lockRange(b, 'shared', 0, 1), 0)
})

t.test('asking does not lock', async (t) => {
  const [a, b] = twice(t, 'asking')
  t.equal(queryLock(a, 'exclusive', 0, 0), 0)
  t.equal(lockRange(b, 'exclusive', 0, 0), 0)
})

t.test('an exclusive lock needs a descriptor to write through', async (t) => {
  const [, b] = twice(t, 'read-only', constants.O_RDONLY)
  t.equal(lockRange(b, 'shared', 0, 1), 0)
  t.equal(lockRange(b, 'exclusive', 0, 1), -EBADF)
  t.equal(lockRange(-1, 'shared', 0, 1), -EBADF)
  t.equal(queryLock(-1, 'shared', 0, 1), -EBADF)
})
