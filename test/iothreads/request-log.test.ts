import t, { type Test } from 'tap'
import { type ChainSegment, DirtyLog, LOG_PAGE } from 'vhost-user-protocol-ts'
import { RequestLog } from '../../iothreads/request-log.js'
import { RequestReader } from '../../iothreads/request-reader.js'
import { QueueRig } from '../support/iothreads/queue-rig.js'

/** Two regions that adjoin; requests of them are read in the usual and in the general way. */
const LARGE = { guestAddress: 0x10_0000, size: 2 ** 20 }
const SMALL = { guestAddress: 0x20_0000, size: 2 ** 16 }
const PAGES = 0x22_0000 / LOG_PAGE
const header = { address: LARGE.guestAddress + 2 ** 19, length: 51, writable: false }

function logOver(t: Test, bytes = PAGES / 8) {
  const rig = new QueueRig(t, { units: [], regions: [LARGE, SMALL] })
  const reader = new RequestReader(rig.guest, rig.queue.virtqueue, rig.table, true)
  const buffer = new SharedArrayBuffer(bytes)
  const log = new RequestLog(new DirtyLog(buffer), rig.guest, rig.table.segments)
  /** What is marked for a request of these buffers; what its reader says. */
  const marked = (...segments: readonly ChainSegment[]): { outcome: number; pages: number[] } => {
    new Uint8Array(buffer).fill(0)
    const request = rig.table.take()!
    const head = rig.ring.prepare([header, ...segments])
    const outcome = reader.read(head, request)
    rig.ring.release(head)
    log.mark(request)
    rig.table.give(request)
    const pages: number[] = []
    new Uint8Array(buffer).forEach((byte, i) => {
      for (let bit = 0; bit < 8; bit++) if ((byte & (1 << bit)) !== 0) pages.push(8 * i + bit)
    })
    return { outcome, pages }
  }
  return { log, marked }
}

const at = (page: number, offset: number, length: number, writable = true): ChainSegment => ({
  address: page * LOG_PAGE + offset,
  length,
  writable,
})

t.test('the response and all data-in buffers, nothing else', async (t) => {
  const { log, marked } = logOver(t)
  const cases: [name: string, segments: ChainSegment[], pages: number[]][] = [
    ['a response', [at(0x110, 0, 108)], [0x110]],
    ['in two pages', [at(0x110, 4000, 108)], [0x110, 0x111]],
    ['in pieces', [at(0x110, 8, 50), at(0x120, 0, 1), at(0x130, 4095, 57)], [0x110, 0x120, 0x130, 0x131]],
    ['in the small region', [at(0x203, 100, 108)], [0x203]],
    ['over the border', [at(0x1ff, 4090, 108)], [0x1ff, 0x200]],
    ['data-out', [at(0x150, 0, 9000, false), at(0x110, 0, 108)], [0x110]],
    ['data-in', [at(0x110, 0, 108), at(0x112, 4095, 4098)], [0x110, 0x112, 0x113, 0x114]],
    [
      'in many',
      [at(0x110, 0, 108), at(0x118, 1, 1), at(0x117, 0, 1), at(0x205, 0, 8193)],
      [0x110, 0x117, 0x118, 0x205, 0x206, 0x207],
    ],
    ['over the border', [at(0x110, 0, 108), at(0x1ff, 0, 8192)], [0x110, 0x1ff, 0x200]],
    ['with the response', [at(0x110, 4000, 9000)], [0x110, 0x111, 0x112, 0x113]],
  ]
  for (const [name, segments, pages] of cases) t.same(marked(...segments), { outcome: 0, pages }, name)
  t.equal(log.hasMissed(), false)
})

t.test('of a request that is turned away: what is written of it', async (t) => {
  const { marked } = logOver(t)
  const nowhere = { address: 2 ** 40, length: 10, writable: true }
  const beyond = marked(at(0x110, 0, 108), nowhere)
  t.ok(beyond.outcome > 0)
  t.same(beyond.pages, [0x110], 'the response')
  const short = marked(at(0x110, 0, 107))
  t.ok(short.outcome > 0)
  t.same(short.pages, [], 'no response')
})

t.test('what is beyond the log is told once', async (t) => {
  const { log, marked } = logOver(t, 36)
  t.same(marked(at(0x110, 0, 108)).pages, [0x110])
  t.equal(log.hasMissed(), false)
  t.same(marked(at(0x110, 0, 108), at(0x200, 0, 108)).pages, [0x110])
  t.equal(log.hasMissed(), true)
  t.equal(log.hasMissed(), false)
  marked(at(0x1f0, 0, 108))
  t.equal(log.hasMissed(), true)
})
