import { readlinkSync } from 'node:fs'
import { drainEventfd } from 'memfd-mmap'
import t from 'tap'
import { DoorbellRows, Doorbells, MOST_ROWS } from '../../iothreads/doorbells.js'
import { BELL, BELL_WORD } from '../../iothreads/messages.js'

const isEventfd = (fd: number): boolean => {
  try {
    return readlinkSync(`/proc/self/fd/${fd}`) === 'anon_inode:[eventfd]'
  } catch {
    return false
  }
}

t.test('any thread rings for any other, once for what was not heard yet', async (t) => {
  const rows = new DoorbellRows()
  const bells = [rows.open(), rows.open()]
  t.equal(rows.doorbells.rows, 2)
  const elsewhere = new Doorbells(rows.doorbells.memory)
  const words = elsewhere.words(bells[1]!.row)
  elsewhere.ring(bells[1]!.row, BELL.GATE)
  t.equal(words[BELL_WORD.BELL], BELL.GATE)
  t.equal(drainEventfd(bells[1]!.fd), 1)
  elsewhere.ring(bells[1]!.row, BELL.GATE)
  t.equal(drainEventfd(bells[1]!.fd), 0, 'the thread is on its way')
  elsewhere.ring(bells[1]!.row, BELL.MESSAGES)
  t.equal(words[BELL_WORD.BELL], BELL.GATE | BELL.MESSAGES)
  t.equal(drainEventfd(bells[1]!.fd), 1)
  t.equal(drainEventfd(bells[0]!.fd), 0)
  t.equal(words.byteOffset, Doorbells.offset(bells[1]!.row))
  for (const bell of bells) rows.close(bell)
})

t.test('an eventfd stays while somebody could ring for a thread that has ended, and no longer', async (t) => {
  const rows = new DoorbellRows()
  const [one, two] = [rows.open(), rows.open()]
  rows.doorbells.ring(one!.row, BELL.EXIT)
  rows.close(one!)
  t.ok(isEventfd(one!.fd))
  const next = rows.open()
  t.same(next, one, 'for the next thread')
  t.equal(rows.doorbells.words(next.row)[BELL_WORD.BELL], BELL.SILENT)
  rows.close(two!)
  t.ok(isEventfd(two!.fd))
  rows.close(next)
  t.notOk(isEventfd(one!.fd) || isEventfd(two!.fd))
  t.equal(rows.doorbells.rows, 0)
})

t.test('there is an end to rows', async (t) => {
  const rows = new DoorbellRows()
  const bells = Array.from({ length: MOST_ROWS }, () => rows.open())
  t.throws(() => rows.open(), RangeError)
  rows.close(bells[7]!)
  t.equal(rows.open().row, 7)
  for (const bell of bells) rows.close(bell)
})
