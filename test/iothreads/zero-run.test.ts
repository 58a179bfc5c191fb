import { Mapping } from 'memfd-mmap'
import t from 'tap'
import { MAX_ZERO_RUN, zeroRun } from '../../iothreads/zero-run.js'

const SIZE = 3 * 2 ** 20

t.test('pages of zeros, up to what is asked for', async (t) => {
  const mapping = Mapping.anonymous(SIZE)
  const bytes = new Uint8Array(mapping.view())
  const { address } = mapping
  t.equal(zeroRun(address, 0, SIZE), SIZE)
  t.equal(zeroRun(address, 512, 1024), 1024)
  t.equal(zeroRun(address, SIZE - 512, 512), 512)
  t.equal(zeroRun(address, 0, 0), 0)

  for (const set of [2 ** 21 + 3 * 4096 + 4095, 5 * 4096, 2 * 4096, 0]) {
    bytes[set] = 1
    const page = set - (set % 4096)
    t.equal(zeroRun(address, 0, SIZE), page, `a page with a one at ${set}`)
    t.equal(zeroRun(address, page, 4096), 0)
    t.equal(zeroRun(address, page + 512, 512), 0, 'all of the page counts')
    if (page >= 512) t.equal(zeroRun(address, page - 512, 2048), 512)
    t.equal(zeroRun(address, page + 4096, 4096), 4096)
  }
  mapping.unmap()
})

t.test('one look has an end', async (t) => {
  const mapping = Mapping.anonymous(2 * MAX_ZERO_RUN)
  t.equal(zeroRun(mapping.address, 0, 2 * MAX_ZERO_RUN), MAX_ZERO_RUN)
  t.equal(zeroRun(mapping.address, 4096 + 512, 2 * MAX_ZERO_RUN - 8192), MAX_ZERO_RUN)
  mapping.unmap()
})
