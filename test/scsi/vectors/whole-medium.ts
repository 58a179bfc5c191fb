import { filled, invalidField, invalidParameter, sense, type Vector } from './vector.js'

/** Commands that go over the whole medium: FORMAT UNIT, SANITIZE. */
export const WHOLE_MEDIUM: readonly Vector[] = [
  { command: 'FORMAT UNIT', cdb: '04 00 00 00 00 00', before: filled(2047, 7), medium: [2047 * 512, '00*512'] },
  { command: 'FORMAT UNIT', cdb: '04 10 00 00 00 00', before: filled(0, 7), out: '00*4', medium: [0, '00*512'] },
  { command: 'FORMAT UNIT', cdb: '04 10 00 00 00 00', sense: sense('05 1a 00') },
  { command: 'FORMAT UNIT', cdb: '04 40 00 00 00 00', sense: invalidField('ce 00 01') },
  {
    command: 'SANITIZE, OVERWRITE',
    cdb: '48 01 00 00 00 00 00 00 06 00',
    out: '01 00 00 02 aa 55',
    medium: [0, 'aa 55 aa 55'],
  },
  {
    command: 'SANITIZE, OVERWRITE',
    cdb: '48 01 00 00 00 00 00 00 05 00',
    out: '00 00 00 01 aa',
    sense: invalidParameter('8c 00 00'),
  },
  {
    command: 'SANITIZE, OVERWRITE',
    cdb: '48 01 00 00 00 00 00 00 04 00',
    out: '01 00 00 01',
    sense: invalidField('c0 00 07'),
  },
  { command: 'SANITIZE, BLOCK ERASE', cdb: '48 02 00*8', before: filled(3, 7), medium: [3 * 512, '00*512'] },
  { command: 'SANITIZE, BLOCK ERASE', cdb: '48 02 00*5 00 04 00', out: '00*4', sense: invalidField('c0 00 07') },
  { command: 'SANITIZE, EXIT FAILURE MODE', cdb: '48 1f 00*8' },
  { command: 'SANITIZE, EXIT FAILURE MODE', cdb: '48 1f 00*5 00 04 00', out: '00*4', sense: invalidField('c0 00 07') },
]
