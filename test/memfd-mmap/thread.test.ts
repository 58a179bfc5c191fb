import { readFileSync } from 'node:fs'
import { getAffinity, gettid, setAffinity, setThreadName } from 'memfd-mmap'
import t from 'tap'

t.test('setThreadName names the calling thread', async (t) => {
  const before = readFileSync(`/proc/self/task/${gettid()}/comm`, 'utf8').trim()
  t.teardown(() => setThreadName(before))
  setThreadName('io0')
  t.equal(readFileSync(`/proc/self/task/${gettid()}/comm`, 'utf8'), 'io0\n')
  setThreadName('a name of more than 15 bytes')
  t.equal(readFileSync(`/proc/self/task/${gettid()}/comm`, 'utf8'), 'a name of more \n')
})

t.test('affinity: set, get, and as the kernel sees it', async (t) => {
  const all = getAffinity(0)
  t.ok(all.length > 0)
  t.teardown(() => setAffinity(0, all))
  const last = all[all.length - 1]!
  setAffinity(0, [last])
  t.strictSame(getAffinity(0), [last])
  t.strictSame(getAffinity(gettid()), [last])
  const listed = /^Cpus_allowed_list:\s*(\S+)/m.exec(readFileSync(`/proc/self/task/${gettid()}/status`, 'utf8'))![1]
  t.equal(listed, String(last))
  setAffinity(gettid(), all)
  t.strictSame(getAffinity(0), all)
})

t.test('what cannot be is refused', async (t) => {
  t.throws(() => setAffinity(0, []), { code: 'EINVAL', syscall: 'sched_setaffinity' })
  t.throws(() => setAffinity(0, [8191]), { code: 'EINVAL' })
  t.throws(() => setAffinity(0, [-1]), RangeError)
  t.throws(() => setAffinity(0, [8192]), RangeError)
  t.throws(() => setAffinity(0, [0.5]), RangeError)
  t.throws(() => getAffinity(2 ** 30), { code: 'ESRCH' })
})
