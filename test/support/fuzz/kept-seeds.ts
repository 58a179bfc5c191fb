import { readFileSync } from 'node:fs'

/** VUS_SEED=n: only this one. */
export const ONLY = process.env.VUS_SEED === undefined ? undefined : Number(process.env.VUS_SEED)

/** A seed that once found something. */
export interface KeptSeed {
  readonly seed: number
  /** What it found. */
  readonly found: string
}

/** The seeds in test/fuzz/seeds/NAME.json. */
export function keptSeeds(name: string): KeptSeed[] {
  const file = new URL(`../../../../test/fuzz/seeds/${name}.json`, import.meta.url)
  return JSON.parse(readFileSync(file, 'utf8')) as KeptSeed[]
}
