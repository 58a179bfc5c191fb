import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { createEventfd, createMemfd, ERRNO, Mapping, raw, signalEventfd } from 'memfd-mmap'
import t from 'tap'
import { Uring } from '../../iothreads/uring.js'
import { CQE, IORING_CQE_F_MORE, IORING_OP, IORING_POLL_ADD_MULTI, SQE } from '../../iothreads/uring-layout.js'
import { LONG } from '../support/iothreads/rounds.js'
import { openFiles, sharedMappings } from '../support/proc.js'
import type { Teardown } from '../support/teardown.js'

const NOP = 0
const POLLIN = 1
/** No opcode of any kernel. */
const NO_OPCODE = 255
const SECOND = 1e9

function open(t: Teardown, entries: number, completions: number): Uring {
  const ring = Uring.create(entries, completions)
  t.teardown(() => ring.close())
  return ring
}

function prepare(ring: Uring, opcode: number, userData: number, kind = 0): number {
  const at = ring.getSqe()
  ring.sqes[at] = opcode
  ring.sqes[at + SQE.USER_DATA] = userData
  ring.sqes[at + SQE.USER_DATA + 1] = kind
  return at
}

interface Completion {
  data: number
  kind: number
  result: number
  flags: number
}

/** Takes all completions that are there. */
function take(ring: Uring): Completion[] {
  const found: Completion[] = []
  const count = ring.completions()
  for (let i = 0; i < count; i++) {
    const cqe = ring.cqe(i)
    const [data, kind, result, flags] = [ring.userData(cqe), ring.userKind(cqe), ring.result(cqe), ring.flags(cqe)]
    found.push({ data, kind, result, flags })
  }
  ring.advance(count)
  return found
}

/** Waits until `count` completions have come. */
function collect(ring: Uring, count: number): Completion[] {
  const found: Completion[] = []
  while (found.length < count) {
    if (ring.completions() === 0 && ring.submitAndWait(10 * SECOND) === -ERRNO.ETIME) throw new Error('no completion')
    found.push(...take(ring))
  }
  return found
}

t.test('entries complete with their user data, in both halves', async (t) => {
  const ring = open(t, 8, 16)
  t.equal(ring.pending, false)
  for (let i = 0; i < 5; i++) prepare(ring, NOP, 100 + i, 7 + i)
  t.equal(ring.pending, true)
  t.equal(ring.completions(), 0)
  t.equal(ring.submit(), 0)
  t.equal(ring.pending, false)
  t.equal(ring.completions(), 5)
  const expected = [0, 1, 2, 3, 4].map((i) => ({ data: 100 + i, kind: 7 + i, result: 0, flags: 0 }))
  t.strictSame(take(ring), expected)
  t.equal(ring.completions(), 0)
})

t.test('an entry is cleared before it is used again', async (t) => {
  const ring = open(t, 2, 4)
  for (let i = 0; i < 4; i++) {
    const at = ring.getSqe()
    t.ok(ring.sqes.subarray(at, at + SQE.WORDS).every((word) => word === 0))
    ring.sqes.fill(0xffffffff, at, at + SQE.WORDS)
    ring.sqes.fill(0, at, at + SQE.WORDS)
    ring.sqes[at + SQE.USER_DATA] = 0xabcdef
    t.equal(ring.submit(), 0)
    t.equal(take(ring).length, 1)
  }
})

t.test('sizes are rounded up and clamped, not refused', async (t) => {
  const small = open(t, 3, 5)
  t.equal(small.sqes.length, 4 * SQE.WORDS)
  const large = open(t, 2 ** 20, 2 ** 21)
  t.equal(large.sqes.length, 32768 * SQE.WORDS)
  prepare(large, NOP, 1)
  t.equal(large.submit(), 0)
  t.equal(take(large).length, 1)
})

t.test('a full ring submits by itself', async (t) => {
  const ring = open(t, 4, 64)
  for (let i = 0; i < 50; i++) prepare(ring, NOP, i)
  t.ok(ring.completions() >= 46, 'all but the last few are through')
  t.equal(ring.submit(), 0)
  t.strictSame(
    take(ring).map(({ data }) => data),
    Array.from({ length: 50 }, (_, i) => i),
  )
})

t.test('more completions than the ring holds are kept by the kernel', async (t) => {
  const ring = open(t, 8, 16)
  for (let i = 0; i < 500; i++) prepare(ring, NOP, i)
  t.equal(ring.submit(), 0)
  t.equal(ring.completions(), 16)
  const found: number[] = []
  while (found.length < 500) {
    if (ring.completions() === 0) ring.submit()
    const some = take(ring)
    if (some.length === 0) break
    found.push(...some.map(({ data }) => data))
  }
  t.strictSame(
    found,
    Array.from({ length: 500 }, (_, i) => i),
  )
})

t.test('what the kernel does not take of a batch goes with the next one', async (t) => {
  const ring = open(t, 16, 32)
  prepare(ring, NOP, 1)
  prepare(ring, NO_OPCODE, 2)
  prepare(ring, NOP, 3)
  prepare(ring, NO_OPCODE, 4)
  prepare(ring, NOP, 5)
  t.equal(ring.submit(), 0)
  t.equal(ring.pending, true, 'the kernel stops at an entry that is wrong')
  while (ring.pending) t.equal(ring.submit(), 0)
  t.strictSame(
    take(ring).map(({ data, result }) => [data, result]),
    [
      [1, 0],
      [2, -ERRNO.EINVAL],
      [3, 0],
      [4, -ERRNO.EINVAL],
      [5, 0],
    ],
  )
})

t.test('a wait ends at its limit, or with the first completion', async (t) => {
  const ring = open(t, 8, 16)
  for (const limit of [1, 20e6, 1.02 * SECOND]) {
    const start = process.hrtime.bigint()
    t.equal(ring.submitAndWait(limit), -ERRNO.ETIME)
    t.ok(Number(process.hrtime.bigint() - start) >= limit, `${limit} ns have passed`)
  }
  prepare(ring, NOP, 9)
  t.equal(ring.submitAndWait(3600 * SECOND), 0, 'submits what is queued')
  t.equal(ring.submitAndWait(3600 * SECOND), 0, 'and does not wait for what is there already')
  t.match(take(ring), [{ data: 9 }])
})

t.test('a failed call is reported and loses no entry', async (t) => {
  const ring = Uring.create(8, 16)
  const eventfd = createEventfd()
  const kept = raw.dup(ring.fd)
  const SYS_DUP3 = process.arch === 'x64' ? 292 : 24
  t.teardown(() => {
    ring.close()
    raw.close(eventfd)
    raw.close(kept)
  })
  for (let i = 0; i < 8; i++) prepare(ring, NOP, i)
  // The descriptor is no ring for a while.
  raw.syscall(SYS_DUP3, eventfd, ring.fd)
  t.equal(ring.submit(), -ERRNO.EOPNOTSUPP)
  t.equal(ring.submitAndWait(SECOND), -ERRNO.EOPNOTSUPP)
  t.equal(ring.pending, true)
  t.throws(() => ring.getSqe(), { code: 'EOPNOTSUPP', syscall: 'io_uring_enter' }, 'nothing is overwritten')
  raw.syscall(SYS_DUP3, kept, ring.fd)
  t.equal(ring.submit(), 0)
  t.strictSame(
    take(ring).map(({ data }) => data),
    [0, 1, 2, 3, 4, 5, 6, 7],
  )
})

t.test('a multishot poll reports each write to an eventfd', async (t) => {
  const ring = open(t, 8, 16)
  const fd = createEventfd()
  t.teardown(() => raw.close(fd))
  const at = prepare(ring, IORING_OP.POLL_ADD, 4, 1)
  ring.sqes[at + SQE.FD] = fd
  ring.sqes[at + SQE.LEN] = IORING_POLL_ADD_MULTI
  ring.sqes[at + SQE.OP_FLAGS] = POLLIN
  t.equal(ring.submit(), 0)
  t.equal(ring.completions(), 0)
  for (let i = 0; i < 100; i++) {
    signalEventfd(fd)
    assert.equal(ring.submitAndWait(10 * SECOND), 0)
    const [event, ...more] = take(ring)
    assert.deepEqual([event?.data, event?.kind, event?.result], [4, 1, POLLIN])
    assert.equal(event!.flags & IORING_CQE_F_MORE, IORING_CQE_F_MORE, 'stays armed')
    assert.equal(more.length, 0)
  }
})

t.test('many transfers in flight: each result belongs to its entry', async (t) => {
  const ring = open(t, 256, 1024)
  const BLOCKS = 1024
  const fd = createMemfd('uring', BLOCKS * 16)
  const memory = Mapping.anonymous(BLOCKS * 16)
  t.teardown(() => {
    raw.close(fd)
    memory.unmap()
  })
  const words = new Uint32Array(memory.view())
  const transfer = (opcode: number, block: number): void => {
    const address = memory.address + 16 * block
    const at = prepare(ring, opcode, block)
    ring.sqes[at + SQE.FD] = fd
    ring.sqes[at + SQE.OFF] = 16 * block
    ring.sqes[at + SQE.ADDR] = address
    ring.sqes[at + SQE.ADDR + 1] = address / 2 ** 32
    // As many bytes as say which one it was.
    ring.sqes[at + SQE.LEN] = 1 + (block % 16)
  }
  const check = (completions: Completion[]): void => {
    const wrong = completions.filter(({ data, result }) => result !== 1 + (data % 16))
    t.equal(wrong.length, 0)
    t.equal(new Set(completions.map(({ data }) => data)).size, BLOCKS)
  }
  for (let i = 0; i < words.length; i++) words[i] = Math.imul(i, 0x9e3779b1)
  const before = words.slice()
  for (let block = 0; block < BLOCKS; block++) transfer(IORING_OP.WRITE, block)
  check(collect(ring, BLOCKS))
  words.fill(0)
  for (let block = BLOCKS - 1; block >= 0; block--) transfer(IORING_OP.READ, block)
  check(collect(ring, BLOCKS))
  const bytes = new Uint8Array(words.buffer)
  const expected = new Uint8Array(before.buffer)
  t.ok(bytes.every((byte, i) => byte === (i % 16 < 1 + ((i >> 4) % 16) ? expected[i] : 0)))
})

t.test(
  'indexes wrap: at the size of the ring, at 2^16, and with VUS_LONG at 2^31 and 2^32',
  { timeout: 0 },
  async (t) => {
    const ENTRIES = 1024
    const ring = open(t, ENTRIES, 2 * ENTRIES)
    const total = LONG ? 2 ** 32 + 2 ** 20 : 2 ** 17 + 77
    let sent = 0
    let came = 0
    let wrong = 0
    // Batches of changing sizes, so that batches start and end anywhere in the ring.
    for (let batch = 1; came < total; batch = (batch * 5 + 3) % ENTRIES) {
      for (let i = 0; i <= batch; i++) {
        ring.sqes[ring.getSqe() + SQE.USER_DATA] = sent
        sent++
      }
      if (ring.submit() !== 0) wrong++
      const count = ring.completions()
      for (let i = 0; i < count; i++) {
        const cqe = ring.cqe(i)
        if (ring.userData(cqe) !== (came | 0) || ring.result(cqe) !== 0) wrong++
        came++
      }
      ring.advance(count)
    }
    t.equal(wrong, 0)
    t.equal(came, sent)
  },
)

t.test('nothing is left of a ring that was closed', async (t) => {
  const files = openFiles(process.pid).size
  const mappings = sharedMappings(process.pid).length
  const address = (): number => Number(/^VmSize:\s+(\d+)/m.exec(readFileSync('/proc/self/status', 'utf8'))![1])
  const ring = Uring.create(64, 128)
  t.equal(openFiles(process.pid).get(ring.fd), 'anon_inode:[io_uring]')
  t.ok(sharedMappings(process.pid).length > mappings)
  ring.close()
  const before = address()
  for (let i = 0; i < 200; i++) Uring.create(1024, 4096).close()
  t.equal(openFiles(process.pid).size, files)
  t.equal(sharedMappings(process.pid).length, mappings)
  // One ring takes 64 + 64 KiB and more.
  t.ok(address() - before < 16 * 1024, 'no address space is lost')
})

t.test('a close with operations in flight ends them', async (t) => {
  const fd = createEventfd()
  t.teardown(() => raw.close(fd))
  const ring = Uring.create(8, 16)
  const at = prepare(ring, IORING_OP.POLL_ADD, 1)
  ring.sqes[at + SQE.FD] = fd
  ring.sqes[at + SQE.OP_FLAGS] = POLLIN
  t.equal(ring.submit(), 0)
  ring.close()
  t.notOk([...openFiles(process.pid).values()].includes('anon_inode:[io_uring]'))
})

t.test('the words of a completion', async (t) => {
  t.strictSame(CQE, { USER_DATA: 0, RES: 2, FLAGS: 3, WORDS: 4 })
})
