import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { OUTCOME, type TestResult } from './iscsi-test-cu.js'

const DIRECTORY = join(import.meta.dirname, '..', '..', '..', '..', 'test', 'e2e', 'expectations')

/** Tests of iscsi-test-cu that cannot pass, and why. */
export interface Impossible {
  readonly why: string
  readonly tests: readonly string[]
}

/** What iscsi-test-cu-impossible.json says. */
export interface Impossibilities {
  /** On no disk that is driven by way of SG_IO. They do not count. */
  readonly everywhere: readonly Impossible[]
  /** With a kind of disk. */
  readonly variants: Readonly<Record<string, readonly Impossible[]>>
}

const IMPOSSIBLE = join(DIRECTORY, 'iscsi-test-cu-impossible.json')
const passes = (variant: string): string => join(DIRECTORY, `iscsi-test-cu-${variant}.json`)

export const readImpossibilities = (): Impossibilities =>
  JSON.parse(readFileSync(IMPOSSIBLE, 'utf8')) as Impossibilities

/** The names of the tests that pass with a kind of disk. */
export const readPasses = (variant: string): string[] => JSON.parse(readFileSync(passes(variant), 'utf8')) as string[]

/** Takes the tests that have passed for those that are expected to. */
export const writePasses = (variant: string, results: readonly TestResult[]): void => {
  const names = results.filter(({ outcome }) => outcome === OUTCOME.PASS).map(({ name }) => name)
  writeFileSync(passes(variant), `${JSON.stringify(names, null, 2)}\n`)
}

export const namesOf = (impossible: readonly Impossible[]): Set<string> =>
  new Set(impossible.flatMap(({ tests }) => tests))

export interface Comparison {
  /** Expected to pass, and have not: a line each. */
  readonly broken: readonly string[]
  /** Have passed though the expectation does not have them: their names. */
  readonly added: readonly string[]
  /** Have passed though they are said to be impossible: their names. */
  readonly possible: readonly string[]
}

/** @param impossible of this kind of disk */
export function compare(
  results: readonly TestResult[],
  expected: readonly string[],
  impossible: readonly Impossible[],
): Comparison {
  const byName = new Map(results.map((result) => [result.name, result]))
  const cannot = namesOf(impossible)
  const passed = results.filter(({ outcome }) => outcome === OUTCOME.PASS).map(({ name }) => name)
  return {
    broken: expected
      .filter((name) => byName.get(name)?.outcome !== OUTCOME.PASS)
      .map((name) => `${name}: ${told(byName.get(name))}`),
    added: passed.filter((name) => !expected.includes(name) && !cannot.has(name)),
    possible: passed.filter((name) => cannot.has(name)),
  }
}

const told = (result: TestResult | undefined): string =>
  result === undefined ? 'has not run' : `${result.outcome}, ${result.reasons.join('; ')}`

/** One line of the table of results. */
export function row(variant: string, results: readonly TestResult[], cells: readonly string[]): string {
  const count = (outcome: string): string => `${results.filter((result) => result.outcome === outcome).length}`
  const numbers = [count(OUTCOME.PASS), count(OUTCOME.SKIP), count(OUTCOME.FAIL), `${results.length}`, ...cells]
  return `${variant.padEnd(12)}${numbers.map((number) => number.padStart(8)).join('')}`
}

export const HEADING = `${'disk'.padEnd(12)}${['pass', 'skip', 'fail', 'of', 's'].map((word) => word.padStart(8)).join('')}`
