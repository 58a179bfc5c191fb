import t from 'tap'
import { logPages, putParameter } from '../../../scsi/log-pages/pages.js'
import { scratch } from '../../../scsi/scratch.js'
import { fixture } from '../support/fixture.js'
import { hex } from '../support/hex.js'

t.test('pages and parameters ascend by code', async (t) => {
  const ascends = (codes: readonly number[]): boolean => codes.every((code, i) => i === 0 || code > codes[i - 1]!)
  for (const changes of [{}, { spaceThreshold: 0 }]) {
    const pages = logPages(fixture(changes).unit)
    t.ok(ascends(pages.map((page) => page.code)))
    for (const page of pages) {
      t.ok(page.code > 0 && page.code < 0x3f)
      t.ok(page.parameters.length > 0)
      t.ok(ascends(page.parameters.map((parameter) => parameter.code)))
    }
  }
})

t.test('a parameter tells its length', async (t) => {
  putParameter(scratch.begin(), { code: 0x0123, value: [1, 2, 3] })
  t.equal(hex(scratch.bytes.subarray(0, scratch.length)), '01 23 03 03 01 02 03')
})
