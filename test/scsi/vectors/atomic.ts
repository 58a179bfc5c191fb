import { invalidField, miscompare, OUT_OF_RANGE, type Vector } from './vector.js'

/** What is atomic against all other writes. */
export const ATOMIC: readonly Vector[] = [
  {
    command: 'COMPARE AND WRITE',
    cdb: '89 00 00*7 05 00 00 00 01 00 00',
    out: '00*512 a7*512',
    residual: 0,
    medium: [5 * 512, 'a7*512 00'],
  },
  {
    command: 'COMPARE AND WRITE',
    cdb: '89 00 00*7 05 00 00 00 01 00 00',
    out: '00*3 01*509 a7*512',
    // INFORMATION is the offset of the byte.
    sense: miscompare('00 00 00 03'),
    medium: [5 * 512, '00*512'],
  },
  { command: 'COMPARE AND WRITE', cdb: '89 00 00*6 08 00 00 00 00 01 00 00', out: '00*1024', sense: OUT_OF_RANGE },
  {
    command: 'ORWRITE(16)',
    cdb: '8b 08 00*7 05 00 00 00 01 00 00',
    before: ({ medium }) => medium.bytes.fill(0x81, 5 * 512, 6 * 512),
    out: '12*512',
    residual: 0,
    medium: [5 * 512, '93*512 00'],
  },
  { command: 'ORWRITE(16)', cdb: '8b 00 00*6 08 00 00 00 00 01 00 00', out: '00*512', sense: OUT_OF_RANGE },
  {
    command: 'WRITE ATOMIC(16)',
    cdb: '9c 00 00*7 05 00 00 00 01 00 00',
    out: 'a7*512',
    residual: 0,
    medium: [5 * 512, 'a7*512 00'],
  },
  {
    command: 'WRITE ATOMIC(16)',
    cdb: '9c 00 00*7 05 00 01 00 01 00 00',
    out: '00*512',
    sense: invalidField('c8 00 0b'),
  },
]
