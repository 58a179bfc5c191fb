import assert from 'node:assert/strict'
import { memset } from 'memfd-mmap'
import t from 'tap'
import { MAX_SEGMENTS, RequestTable, SLOT_BITS, SLOT_MASK } from '../../iothreads/request-table.js'
import { ownAddressSpace } from '../support/iothreads/own-process.js'

t.test('as many requests as the ring has entries, and no more than 1024', async (t) => {
  for (const [size, count] of [
    [1, 1],
    [128, 128],
    [1024, 1024],
    [32768, 1024],
  ] as const) {
    const table = new RequestTable(0, size)
    t.equal(table.requests.length, count)
    t.equal(table.free, count)
    t.equal(table.busy, 0)
    table.release()
  }
})

t.test('an id names queue and slot', async (t) => {
  for (const queueSlot of [0, 1, 0x7fff, 0x8000, 0xffff]) {
    const table = new RequestTable(queueSlot, 4)
    for (const request of table.requests) {
      t.equal(request.id >>> SLOT_BITS, queueSlot)
      t.equal(request.id & SLOT_MASK, request.slot)
      t.equal(table.requests[request.slot], request)
    }
    table.release()
  }
})

t.test('taken once until given back, the last one first', async (t) => {
  const table = new RequestTable(0, 8)
  t.teardown(() => table.release())
  const taken = Array.from({ length: 8 }, () => table.take()!)
  t.equal(new Set(taken).size, 8)
  t.ok(taken.every((request) => request.active))
  t.equal(table.busy, 8)
  t.equal(table.take(), null)
  for (const i of [3, 5]) {
    table.give(taken[i]!)
    t.equal(taken[i]!.active, false)
  }
  t.equal(table.free, 2)
  t.equal(table.take(), taken[5])
  t.equal(table.take(), taken[3])
  t.equal(table.take(), null)
})

t.test('the segments, the iovecs and the CDB of each request are its own', async (t) => {
  const table = new RequestTable(0, 16)
  t.teardown(() => table.release())
  const numbers = 2 * MAX_SEGMENTS
  const words = 4 * MAX_SEGMENTS
  for (const { slot, firstSegment, firstIovec, task } of table.requests) {
    table.segments.fill(slot + 1, firstSegment, firstSegment + numbers)
    table.iovecs.fill(slot + 1, firstIovec, firstIovec + words)
    task.cdbBytes.fill(slot + 1)
  }
  for (const { slot, firstSegment, firstIovec, task } of table.requests) {
    const isOwn = (value: number): boolean => value === slot + 1
    assert.ok(table.segments.subarray(firstSegment, firstSegment + numbers).every(isOwn))
    assert.ok(table.iovecs.subarray(firstIovec, firstIovec + words).every(isOwn))
    assert.ok(task.cdbBytes.every(isOwn))
  }
  const { iovecAddress, firstIovec } = table.requests[7]!
  memset(iovecAddress + 16 * MAX_SEGMENTS - 4, 0x11, 4)
  t.equal(table.iovecs[firstIovec + words - 1], 0x11111111)
})

t.test('release gives the memory back', async (t) => {
  new RequestTable(0, 1024).release()
  const before = ownAddressSpace()
  for (let i = 0; i < 20; i++) new RequestTable(0, 1024).release()
  t.ok(ownAddressSpace() - before < 100 * 2 ** 20, 'a table takes 32 MiB')
})
