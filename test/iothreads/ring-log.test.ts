import { Mapping } from 'memfd-mmap'
import t from 'tap'
import { LOG_PAGE } from 'vhost-user-protocol-ts'
import type { HostRing } from '../../iothreads/index.js'
import { dirtyLog, usedRingLog } from '../../iothreads/ring-log.js'

t.test('a ring in the log', async (t) => {
  const mapping = Mapping.anonymous(4096)
  t.teardown(() => mapping.unmap())
  const area = { address: mapping.address + 8, length: 16 }
  const bytes = () => [...new Uint8Array(mapping.view()).slice(0, 32)]
  const log = dirtyLog({ area, used: 0 })
  t.equal(log.pages, 128, 'as many pages as the area has bits')

  const ring = (used: number | null): HostRing => ({
    ...{ index: 2, packed: false, size: 1024, base: 0, desc: 0, avail: 0, used: 0, eventIdx: true, indirect: true },
    ...{ kickFd: -1, callFd: -1, errFd: -1, log: { area, used } },
  })
  t.equal(usedRingLog(log, ring(null)), null)
  // 6 + 8 * 1024 bytes: the last two reach into a fourth page.
  usedRingLog(log, ring(10 * LOG_PAGE - 4))!.mark()
  const marked = Array(32).fill(0)
  marked[9] = 0b0001_1110
  t.same(bytes(), marked, 'pages 9 to 12')
})
