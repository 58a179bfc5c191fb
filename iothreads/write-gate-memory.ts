import { MOST_ROWS } from './doorbells.js'

/** Stripes of a unit, one bit of a word each. */
export const STRIPES = 32
export const STRIPE_BYTES = 2 ** 20

/** All of a unit. */
export const ALL_STRIPES = -1

/** 32-bit words of a gate's memory, and from ROWS on those of each thread's row: STRIPES counters first. */
export const GATE = { LOCK: 0, ID: 1, NEXT_TICKET: 16, ROWS: 32 } as const
/**
 * WANT: stripes that somebody in the thread waits to pass; TICKET: the earliest of their tickets. DRAIN: stripes taken by the thread
 * that others may be in. TURN: odd while the thread is in a turn in which somebody passes.
 */
export const ROW = {
  COUNTERS: 0,
  WANT: STRIPES,
  TICKET: STRIPES + 1,
  DRAIN: STRIPES + 2,
  TURN: STRIPES + 3,
  WORDS: STRIPES + 16,
} as const

let created = 0

/** Memory of a new gate. On the main thread: gates are told apart by a number. */
export function createGate(): SharedArrayBuffer {
  const memory = new SharedArrayBuffer(4 * rowAt(MOST_ROWS))
  new Int32Array(memory)[GATE.ID] = ++created
  return memory
}

/** The number of a gate. */
export function gateId(memory: SharedArrayBuffer): number {
  return new Int32Array(memory)[GATE.ID]!
}

/** The bytes [offset, offset + length) as stripes. */
export function stripesOf(offset: number, length: number): number {
  const first = Math.floor(offset / STRIPE_BYTES)
  const more = Math.floor((offset + Math.max(length, 1) - 1) / STRIPE_BYTES) - first
  if (more === 0) return 1 << first
  if (more >= STRIPES - 1) return ALL_STRIPES
  const bits = 2 ** (more + 1) - 1
  const turn = first % STRIPES
  return turn === 0 ? bits : (bits << turn) | (bits >>> (STRIPES - turn))
}

/** The first word of a row. */
export function rowAt(row: number): number {
  return GATE.ROWS + row * ROW.WORDS
}
