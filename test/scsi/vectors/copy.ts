import type { Fixture } from '../support/fixture.js'
import { filled, invalidField, sense, type Vector } from './vector.js'

/** An identification descriptor of the unit, by its NAA designator. */
const UNIT = 'e4 00 00 00 01 03 00 08 30 01 02 03 04 05 06 07 00*13 00 02 00'
/** One block from LBA 3 to LBA 8, and one from LBA 0 to LBA 1388h, which is not there. */
const GOOD_SEGMENT = '02 00 00 18 00 00 00 00 00 00 00 01 00*7 03 00*7 08'
const BAD_SEGMENT = '02 00 00 18 00 00 00 00 00 00 00 01 00*8 00*6 13 88'

const copyOf = (identifier: string, segment: string): string =>
  `${identifier} 00 00 20 00*4 00 00 00 1c 00*4 ${UNIT} ${segment}`

const COPY = '83 00*9 00 00 00 4c 00 00'

/** A copy with list identifier 5 that fails. */
function failedCopy({ initiator }: Fixture): void {
  initiator.send(COPY, { out: copyOf('05', BAD_SEGMENT) })
}

/** EXTENDED COPY, and what is told of one. */
export const THIRD_PARTY_COPY: readonly Vector[] = [
  {
    command: 'EXTENDED COPY(LID1)',
    cdb: COPY,
    before: filled(3, 0x6b),
    out: copyOf('01', GOOD_SEGMENT),
    residual: 0,
    medium: [8 * 512, '6b*512 00'],
  },
  { command: 'EXTENDED COPY(LID1)', cdb: '83 00*9 00 00 00 04 00 00', out: '00*4', sense: sense('05 1a 00') },
  {
    command: 'RECEIVE COPY STATUS(LID1)',
    cdb: '84 00 05 00*7 00 00 00 ff 00 00',
    before: failedCopy,
    data: '00 00 00 08 02 00 00 01 00 00 00 00',
  },
  { command: 'RECEIVE COPY STATUS(LID1)', cdb: '84 00 01 00*7 00 00 00 ff 00 00', sense: invalidField('c0 00 02') },
  {
    command: 'RECEIVE COPY OPERATING PARAMETERS',
    cdb: '84 03 00 00*7 00 00 00 ff 00 00',
    data: '00 00 00 2a 01 00 00 00 00 10 00 10 00 00 03 c0 10 00 00 00 00*15 ff ff 09 00*5 02 02 e4',
  },
  {
    command: 'RECEIVE COPY OPERATING PARAMETERS',
    cdb: '84 03 01 00*7 00 00 00 ff 00 00',
    sense: invalidField('c8 00 02'),
  },
  {
    command: 'RECEIVE COPY FAILURE DETAILS(LID1)',
    cdb: '84 04 05 00*7 00 00 00 ff 00 00',
    before: failedCopy,
    data: '00 00 00 4a 00*52 02 00 00 12 70 00 0a 00*4 0a 00*10',
  },
  {
    command: 'RECEIVE COPY FAILURE DETAILS(LID1)',
    cdb: '84 04 05 00*7 00 00 00 ff 00 00',
    sense: invalidField('c0 00 02'),
  },
]
