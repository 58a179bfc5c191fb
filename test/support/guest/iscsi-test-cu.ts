import type { Guest } from './guest.js'

/**
 * Debian's package libiscsi-bin. Its tests of family ALL, each `SUITE.TEST`; they drive a disk by way of SG_IO when the argument is no
 * URL.
 */
const PROGRAM = 'iscsi-test-cu'
/** What a guest needs for runTests(). */
export const PROGRAMS = [PROGRAM, 'sg_turs']

/** The unit attentions that one suite can leave on a path which the tool does not look at before the next. */
const ATTENTIONS = '1 2 3 4'

/** How a test of the tool ended. */
export const OUTCOME = { PASS: 'pass', SKIP: 'skip', FAIL: 'fail' } as const
export type Outcome = (typeof OUTCOME)[keyof typeof OUTCOME]

export interface TestResult {
  /** `SUITE.TEST` */
  readonly name: string
  readonly outcome: Outcome
  /** Of SKIP and FAIL: what the tool says of it. */
  readonly reasons: readonly string[]
}

/** What parseResults() needs of the output, which is 100 times as long; as grep(1) -E has it. */
const TELLING = '^Suite: |^  Test: |\\[SKIPPED\\]|\\[FAILED\\]|passed$|FAILED$|^ {4}[0-9]+\\. '

const SUITE_TIMEOUT = 240_000

/**
 * The results in the output of `iscsi-test-cu -V -v`, in order. CUnit takes a test that the tool has skipped for passed; what tells is the
 * tool's own line. A test in which the tool crashed has failed, and the tests behind it are not there.
 */
export function parseResults(output: string): TestResult[] {
  const results: TestResult[] = []
  for (const part of output.split(/^Suite: /m).slice(1)) {
    const suite = firstWord(part)
    for (const text of part.split(/^ {2}Test: /m).slice(1)) results.push(parseTest(suite, text))
  }
  return results
}

function parseTest(suite: string, text: string): TestResult {
  const name = `${suite}.${firstWord(text)}`
  const verdict = /^(?:\S+ \.\.\.)?(passed|FAILED)$/m.exec(text)?.[1]
  if (verdict === undefined) return { name, outcome: OUTCOME.FAIL, reasons: ['the tool has crashed'] }
  if (verdict === 'FAILED') {
    return { name, outcome: OUTCOME.FAIL, reasons: lines(text, /\[FAILED\] *(.+)$|^ {4}\d+\. (.+)$/gm) }
  }
  const skipped = lines(text, /\[SKIPPED\] *(.+)$/gm)
  return { name, outcome: skipped.length > 0 ? OUTCOME.SKIP : OUTCOME.PASS, reasons: skipped }
}

const firstWord = (text: string): string => /^\S*/.exec(text)![0]

/** What the groups of `pattern` have found, each once. */
function lines(text: string, pattern: RegExp): string[] {
  return [...new Set([...text.matchAll(pattern)].map((match) => (match[1] ?? match[2] ?? '').trim()))]
}

/** The names of all tests of the tool, `SUITE.TEST`. */
export async function listTests(guest: Guest): Promise<string[]> {
  const names = (await guest.check(`${PROGRAM} -l`)).split('\n').map((line) => line.split('.'))
  return names.flatMap(([family, suite, test]) => (family === 'ALL' && test !== undefined ? [`${suite}.${test}`] : []))
}

/**
 * What to give the tool one after another so that it runs `names` and nothing of `never`, which may crash it: whole suites where that
 * can be, else single tests.
 */
export function invocations(names: readonly string[], never: ReadonlySet<string>): string[] {
  const suite = (name: string): string => name.slice(0, name.indexOf('.'))
  const broken = new Set([...never].map(suite))
  return [
    ...new Set(names.filter((name) => !never.has(name)).map((name) => (broken.has(suite(name)) ? name : suite(name)))),
  ]
}

/**
 * Runs what `invocations` gives on a disk, the destructive tests too.
 *
 * @param nodes `/dev/sg0`; several are paths to the same unit
 */
export async function runTests(
  guest: Guest,
  nodes: readonly string[],
  invocations: readonly string[],
): Promise<TestResult[]> {
  const log = '/tmp/iscsi-test-cu.log'
  const results: TestResult[] = []
  for (const tests of invocations) {
    const { stdout } = await guest.run(
      `for node in ${nodes.join(' ')}; do
        for attention in ${ATTENTIONS}; do
          sg_turs $node > /dev/null 2>&1 && break
        done
      done
      ${PROGRAM} -d -S -V -v -t ALL.${tests} ${nodes.join(' ')} > ${log} 2>&1
      grep -aE '${TELLING}' ${log} || tail -n 5 ${log}`,
      { timeout: SUITE_TIMEOUT },
    )
    const found = parseResults(stdout)
    results.push(...found)
    if (found.length === 0)
      results.push({ name: tests, outcome: OUTCOME.FAIL, reasons: [`did not run: ${stdout.trim()}`] })
  }
  return results
}
