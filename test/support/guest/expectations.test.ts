import t from 'tap'
import { compare, HEADING, namesOf, readImpossibilities, readPasses, row } from './expectations.js'
import { OUTCOME, type TestResult } from './iscsi-test-cu.js'

const RESULTS: TestResult[] = [
  { name: 'A.Passes', outcome: OUTCOME.PASS, reasons: [] },
  { name: 'A.Skips', outcome: OUTCOME.SKIP, reasons: ['A is not implemented.'] },
  { name: 'B.Fails', outcome: OUTCOME.FAIL, reasons: ['A failed', 'a.c:1'] },
  { name: 'B.New', outcome: OUTCOME.PASS, reasons: [] },
  { name: 'B.Cannot', outcome: OUTCOME.PASS, reasons: [] },
]

t.test('what passes, and was expected to', async (t) => {
  const impossible = [{ why: 'it cannot', tests: ['B.Cannot'] }]
  t.same(compare(RESULTS, ['A.Passes', 'A.Skips', 'B.Fails', 'C.Gone'], impossible), {
    broken: ['A.Skips: skip, A is not implemented.', 'B.Fails: fail, A failed; a.c:1', 'C.Gone: has not run'],
    added: ['B.New'],
    possible: ['B.Cannot'],
  })
  t.same(compare(RESULTS, ['A.Passes', 'B.New', 'B.Cannot'], []), { broken: [], added: [], possible: [] })
})

t.test('a table', async (t) => {
  t.equal(row('memory', RESULTS, ['1.5']), 'memory             3       1       1       5     1.5')
  t.equal(row('', [], ['']).length, HEADING.length)
})

t.test('the files agree with each other', async (t) => {
  const { everywhere, variants } = readImpossibilities()
  const nowhere = namesOf(everywhere)
  for (const [variant, impossible] of Object.entries(variants)) {
    const cannot = namesOf(impossible)
    const passes = readPasses(variant)
    t.equal(new Set(passes).size, passes.length, `${variant}: each once`)
    t.same(
      passes.filter((name) => cannot.has(name) || nowhere.has(name)),
      [],
      `${variant}: what cannot pass does not`,
    )
    t.same(
      [...cannot].filter((name) => nowhere.has(name)),
      [],
      `${variant}: what cannot pass here is possible elsewhere`,
    )
  }
})
