import t from 'tap'
import {
  NO_RESERVATIONS,
  RESERVATION_TYPE,
  RESERVE_OUT,
  readFullStatus,
  readKeys,
  readReservation,
  reportCapabilities,
} from '../../../scsi/reservations/index.js'
import { hex, normal } from '../support/hex.js'
import { A, B, outList, ReservedUnit } from '../support/reservations.js'

const { EXCLUSIVE_ACCESS, WRITE_EXCLUSIVE_ALL_REGISTRANTS } = RESERVATION_TYPE

t.test('READ KEYS', async (t) => {
  t.equal(hex(readKeys(NO_RESERVATIONS)), normal('00*8'))
  const unit = new ReservedUnit().register(A, 0x1234).register(B, 0xabcdef)
  t.equal(hex(readKeys(unit.state)), normal('00 00 00 02 00 00 00 10 00*6 12 34 00*5 ab cd ef'))
})

t.test('READ RESERVATION', async (t) => {
  const unit = new ReservedUnit().register(A, 0x1234).register(B, 5)
  t.equal(hex(readReservation(unit.state)), normal('00 00 00 02 00 00 00 00'))
  unit.reserve(A, 0x1234, EXCLUSIVE_ACCESS)
  t.equal(hex(readReservation(unit.state)), normal('00 00 00 02 00 00 00 10 00*6 12 34 00*4 00 03 00 00'))
})

t.test('the key of a reservation that all hold is 0', async (t) => {
  const unit = new ReservedUnit().register(A, 0x1234).reserve(A, 0x1234, WRITE_EXCLUSIVE_ALL_REGISTRANTS)
  t.equal(hex(readReservation(unit.state)), normal('00 00 00 01 00 00 00 10 00*8 00*4 00 07 00 00'))
})

t.test('REPORT CAPABILITIES', async (t) => {
  // CRH, SIP_C, ATP_C; TMV and ALLOW COMMANDS 4; all six types
  t.equal(hex(reportCapabilities(NO_RESERVATIONS, false)), normal('00 08 1c c0 ea 01 00 00'))
  t.equal(hex(reportCapabilities(NO_RESERVATIONS, true)), normal('00 08 1d c0 ea 01 00 00'), 'PTPL_C')
  const unit = new ReservedUnit()
  unit.out(A, RESERVE_OUT.REGISTER, 0, outList({ actionKey: 1, aptpl: true }))
  t.equal(hex(reportCapabilities(unit.state, true)), normal('00 08 1d c1 ea 01 00 00'), 'PTPL_A')
})

t.test('READ FULL STATUS', async (t) => {
  t.equal(hex(readFullStatus(NO_RESERVATIONS)), normal('00*8'))
  const unit = new ReservedUnit().register(A, 0x1234).register(B, 5)
  const key = (last: string) => `00*6 ${last}`
  const id = (last: string) => `06 00 00 00 30 00*6 ${last} 00*12`
  const header = '00 00 00 02 00 00 00 60'
  t.equal(
    hex(readFullStatus(unit.state)),
    normal(
      `${header} ${key('12 34')} 00*4 00 00 00*4 00 01 00 00 00 18 ${id('0a')} ` +
        `${key('00 05')} 00*4 00 00 00*4 00 02 00 00 00 18 ${id('0b')}`,
    ),
  )
  unit.reserve(B, 5, EXCLUSIVE_ACCESS)
  t.equal(
    hex(readFullStatus(unit.state)),
    normal(
      `${header} ${key('12 34')} 00*4 00 00 00*4 00 01 00 00 00 18 ${id('0a')} ` +
        `${key('00 05')} 00*4 01 03 00*4 00 02 00 00 00 18 ${id('0b')}`,
    ),
    'B holds the reservation',
  )
})

t.test('READ FULL STATUS of a reservation that all hold', async (t) => {
  const unit = new ReservedUnit().register(A, 1).register(B, 2).reserve(A, 1, WRITE_EXCLUSIVE_ALL_REGISTRANTS)
  const status = readFullStatus(unit.state)
  for (const at of [8, 56]) t.same([...status.subarray(at + 12, at + 14)], [1, 7])
})
