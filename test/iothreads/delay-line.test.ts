import { clockMonotonicNs, ERRNO } from 'memfd-mmap'
import t from 'tap'
import { DelayLine } from '../../iothreads/delay-line.js'
import { CANCEL, type Request } from '../../iothreads/request.js'
import { RequestTable } from '../../iothreads/request-table.js'

const table = new RequestTable(0, 1024)
t.teardown(() => table.release())
const [first, second, third] = table.requests as [Request, Request, Request]

function recording(delay: number): { line: DelayLine; ended: [Request, number][] } {
  const ended: [Request, number][] = []
  return { line: new DelayLine(delay, (request, result) => ended.push([request, result])), ended }
}

t.test('a request ends when its time has come, not before', async (t) => {
  const { line, ended } = recording(5e9)
  t.equal(line.deadline, Number.POSITIVE_INFINITY)
  line.poll(1e18)
  const before = clockMonotonicNs()
  line.add(first, 4096)
  const after = clockMonotonicNs()
  const due = line.deadline
  t.ok(due >= before + 5e9 && due <= after + 5e9)
  line.poll(due - 1)
  t.strictSame(ended, [])
  line.poll(due)
  t.same(ended, [[first, 4096]])
  t.equal(line.deadline, Number.POSITIVE_INFINITY)
  line.poll(1e18)
  t.equal(ended.length, 1)
})

t.test('first in, first out; the deadline is that of the first', async (t) => {
  const { line, ended } = recording(1000)
  line.add(first, 1)
  const due = line.deadline
  line.add(second, -5)
  line.add(third, 0)
  t.equal(line.deadline, due)
  line.poll(due)
  t.equal(ended[0]![0], first)
  line.poll(1e18)
  t.same(
    ended.map(([, result]) => result),
    [1, -5, 0],
  )
  t.equal(ended[1]![0], second)
  t.equal(ended[2]![0], third)
})

t.test('grows from any position and keeps the order', async (t) => {
  const { line, ended } = recording(1)
  let added = 0
  const add = (count: number): void => {
    for (let i = 0; i < count; i++) line.add(table.requests[added % 1024]!, added++)
  }
  // Its first place moves on, then it fills up beyond each size from there.
  for (const [some, rest] of [
    [37, 0],
    [60, 0],
    [64, 1],
    [200, 50],
    [1000, 3],
    [5000, 0],
  ] as const) {
    add(some)
    add(rest)
    line.poll(1e18)
  }
  t.strictSame(
    ended.map(([, result]) => result),
    Array.from({ length: added }, (_, i) => i),
  )
  t.ok(ended.every(([request, result]) => request === table.requests[result % 1024]))
})

t.test('what is added while others end waits for its own time', async (t) => {
  const ended: number[] = []
  const line: DelayLine = new DelayLine(3600e9, (request, result) => {
    ended.push(result)
    // More than fit, so that it grows meanwhile.
    if (result < 3) for (let i = 0; i < 50; i++) line.add(request, 100 + result)
  })
  for (const result of [0, 1, 2]) line.add(first, result)
  line.poll(clockMonotonicNs() + 3600e9)
  t.strictSame(ended, [0, 1, 2])
  line.poll(1e18)
  t.strictSame(ended.slice(3), [...new Array(50).fill(100), ...new Array(50).fill(101), ...new Array(50).fill(102)])
})

t.test('what was cancelled ends at once, all else in its time and order', async (t) => {
  const { line, ended } = recording(1000)
  const requests = table.requests
  t.teardown(() => {
    for (const request of requests) request.cancel = CANCEL.NONE
  })
  line.endCancelled()
  // Moves its first place on, so that what is held lies around the end.
  for (let i = 0; i < 40; i++) line.add(first, 0)
  line.poll(1e18)
  ended.length = 0
  for (let i = 0; i < 60; i++) line.add(requests[i]!, i)
  const due = line.deadline
  line.endCancelled()
  t.strictSame(ended, [])
  const gone = [1, 2, 17, 30, 31, 59]
  for (const i of gone) requests[i]!.cancel = i % 2 === 0 ? CANCEL.ABORTED : CANCEL.RESET
  line.endCancelled()
  t.strictSame(
    ended.splice(0).map(([request, result]) => [request.slot, result]),
    gone.map((i) => [i, -ERRNO.ECANCELED]),
  )
  t.equal(line.deadline, due)
  requests[0]!.cancel = CANCEL.ABORTED
  line.endCancelled()
  t.same(ended.splice(0), [[first, -ERRNO.ECANCELED]])
  t.ok(line.deadline >= due)
  line.poll(1e18)
  const left = Array.from({ length: 59 }, (_, i) => i + 1).filter((i) => !gone.includes(i))
  t.strictSame(
    ended.splice(0).map(([request, result]) => [request.slot, result]),
    left.map((i) => [i, i]),
  )
  line.add(second, 1)
  line.endCancelled()
  t.same(ended.splice(0), [[second, -ERRNO.ECANCELED]], 'also the only one')
  t.equal(line.deadline, Number.POSITIVE_INFINITY)
})
