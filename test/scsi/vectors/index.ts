import { ATOMIC } from './atomic.js'
import { BLOCK } from './block.js'
import { THIRD_PARTY_COPY } from './copy.js'
import { PRIMARY } from './primary.js'
import { READ_WRITE } from './read-write.js'
import { RESERVATIONS } from './reservations.js'
import type { Vector } from './vector.js'
import { WHOLE_MEDIUM } from './whole-medium.js'

/** What every command of the table answers: each has at least one vector that is GOOD, and one that is refused. */
export const VECTORS: readonly Vector[] = [
  ...PRIMARY,
  ...BLOCK,
  ...READ_WRITE,
  ...ATOMIC,
  ...WHOLE_MEDIUM,
  ...THIRD_PARTY_COPY,
  ...RESERVATIONS,
]
