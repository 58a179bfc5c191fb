import { STATUS } from '../../../scsi/index.js'
import type { Fixture } from '../support/fixture.js'
import { invalidField, sense, type Vector } from './vector.js'

const KEY = '00*7 01'
const OTHER_KEY = '00*7 02'
const NO_KEY = '00*8'

/** The basic parameter list of PERSISTENT RESERVE OUT. */
const list = (key: string, actionKey: string): string => `${key} ${actionKey} 00*8`
const out = (action: string, type = '00'): string => `5f ${action} ${type} 00 00 00 00 00 18 00`

function registered({ initiator }: Fixture): void {
  initiator.send(out('00'), { out: list(NO_KEY, KEY) })
}

/** A write exclusive reservation of its own. */
function reserved(fixture: Fixture): void {
  registered(fixture)
  fixture.initiator.send(out('01', '01'), { out: list(KEY, NO_KEY) })
}

/** Registered here, and reserved by another nexus. */
function reservedByOther(fixture: Fixture): void {
  registered(fixture)
  const other = fixture.join('other').initiator
  other.send(out('00'), { out: list(NO_KEY, OTHER_KEY) })
  other.send(out('01', '01'), { out: list(OTHER_KEY, NO_KEY) })
}

const CONFLICT = { status: STATUS.RESERVATION_CONFLICT }
const SHORT_LIST = sense('05 1a 00')

/** PERSISTENT RESERVE IN and OUT, and the reservations of SPC-2. */
export const RESERVATIONS: readonly Vector[] = [
  { command: 'RESERVE(6)', cdb: '16 00 00 00 00 00' },
  { command: 'RESERVE(6)', cdb: '16 01 00 00 00 00', sense: invalidField('c8 00 01') },
  { command: 'RELEASE(6)', cdb: '17 00 00 00 00 00' },
  { command: 'RELEASE(6)', cdb: '17 10 00 00 00 00', sense: invalidField('cc 00 01') },
  { command: 'RESERVE(10)', cdb: '56 00*9' },
  { command: 'RESERVE(10)', cdb: '56 02 00*8', sense: invalidField('c9 00 01') },
  {
    command: 'RESERVE(10)',
    cdb: '56 00*9',
    before: ({ join }) => join('other').initiator.send('56 00*9'),
    ...CONFLICT,
  },
  { command: 'RELEASE(10)', cdb: '57 00*9' },
  { command: 'RELEASE(10)', cdb: '57 02 00*8', sense: invalidField('c9 00 01') },
  {
    command: 'PERSISTENT RESERVE IN, READ KEYS',
    cdb: '5e 00 00 00 00 00 00 00 ff 00',
    before: registered,
    data: `00 00 00 01 00 00 00 08 ${KEY}`,
  },
  { command: 'PERSISTENT RESERVE IN, READ KEYS', cdb: '5e 20 00*5 00 ff 00', sense: invalidField('cd 00 01') },
  {
    command: 'PERSISTENT RESERVE IN, READ RESERVATION',
    cdb: '5e 01 00 00 00 00 00 00 ff 00',
    before: reserved,
    data: `00 00 00 01 00 00 00 10 ${KEY} 00*4 00 01 00 00`,
  },
  {
    command: 'PERSISTENT RESERVE IN, READ RESERVATION',
    cdb: '5e 01 01 00*4 00 ff 00',
    sense: invalidField('c8 00 02'),
  },
  {
    command: 'PERSISTENT RESERVE IN, REPORT CAPABILITIES',
    cdb: '5e 02 00 00 00 00 00 00 ff 00',
    data: '00 08 1c c0 ea 01 00 00',
  },
  {
    command: 'PERSISTENT RESERVE IN, REPORT CAPABILITIES',
    cdb: '5e 42 00*5 00 ff 00',
    sense: invalidField('ce 00 01'),
  },
  {
    command: 'PERSISTENT RESERVE IN, READ FULL STATUS',
    cdb: '5e 03 00 00 00 00 00 00 ff 00',
    before: reserved,
    data: `00 00 00 01 00 00 00 30 ${KEY} 00*4 01 01 00*4 00 01 00 00 00 18 06 00 00 00 30 00 00 00 00 00 00 01 00*12`,
  },
  { command: 'PERSISTENT RESERVE IN, READ FULL STATUS', cdb: '5e 83 00*5 00 ff 00', sense: invalidField('cf 00 01') },
  { command: 'PERSISTENT RESERVE OUT, REGISTER', cdb: out('00'), out: list(NO_KEY, KEY), residual: 0 },
  { command: 'PERSISTENT RESERVE OUT, REGISTER', cdb: '5f 00 00*5 00 17 00', out: '00*23', sense: SHORT_LIST },
  { command: 'PERSISTENT RESERVE OUT, REGISTER', cdb: out('00'), out: list(KEY, KEY), ...CONFLICT },
  { command: 'PERSISTENT RESERVE OUT, RESERVE', cdb: out('01', '03'), before: registered, out: list(KEY, NO_KEY) },
  { command: 'PERSISTENT RESERVE OUT, RESERVE', cdb: out('01', '03'), out: list(KEY, NO_KEY), ...CONFLICT },
  { command: 'PERSISTENT RESERVE OUT, RELEASE', cdb: out('02', '01'), before: reserved, out: list(KEY, NO_KEY) },
  {
    command: 'PERSISTENT RESERVE OUT, RELEASE',
    cdb: out('02', '03'),
    before: reserved,
    out: list(KEY, NO_KEY),
    sense: sense('05 26 04'),
  },
  { command: 'PERSISTENT RESERVE OUT, CLEAR', cdb: out('03'), before: reserved, out: list(KEY, NO_KEY) },
  { command: 'PERSISTENT RESERVE OUT, CLEAR', cdb: out('03'), out: list(KEY, NO_KEY), ...CONFLICT },
  {
    command: 'PERSISTENT RESERVE OUT, PREEMPT',
    cdb: out('04', '01'),
    before: reservedByOther,
    out: list(KEY, OTHER_KEY),
  },
  { command: 'PERSISTENT RESERVE OUT, PREEMPT', cdb: out('04', '01'), out: list(KEY, OTHER_KEY), ...CONFLICT },
  {
    command: 'PERSISTENT RESERVE OUT, PREEMPT AND ABORT',
    cdb: out('05', '01'),
    before: reservedByOther,
    out: list(KEY, OTHER_KEY),
  },
  {
    command: 'PERSISTENT RESERVE OUT, PREEMPT AND ABORT',
    cdb: out('05', '01'),
    out: list(KEY, OTHER_KEY),
    ...CONFLICT,
  },
  {
    command: 'PERSISTENT RESERVE OUT, REGISTER AND IGNORE EXISTING KEY',
    cdb: out('06'),
    before: registered,
    out: list(NO_KEY, OTHER_KEY),
    residual: 0,
  },
  {
    command: 'PERSISTENT RESERVE OUT, REGISTER AND IGNORE EXISTING KEY',
    cdb: '5f 06 00*5 00 17 00',
    out: '00*23',
    sense: SHORT_LIST,
  },
  {
    command: 'PERSISTENT RESERVE OUT, REGISTER AND MOVE',
    cdb: '5f 07 00 00 00 00 00 00 30 00',
    before: reserved,
    out: `${KEY} ${OTHER_KEY} 00 00 00 01 00 00 00 18 06 00 00 00 50 00 00 00 00 00 00 77 00*12`,
    residual: 0,
  },
  {
    command: 'PERSISTENT RESERVE OUT, REGISTER AND MOVE',
    cdb: '5f 07 00 00 00 00 00 00 30 00',
    out: `${KEY} ${OTHER_KEY} 00 00 00 01 00 00 00 18 06 00 00 00 50 00 00 00 00 00 00 77 00*12`,
    ...CONFLICT,
  },
]
