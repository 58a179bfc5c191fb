import t from 'tap'
import {
  admitsRegistrants,
  isHeldByAll,
  isReservationType,
  isWriteExclusive,
  RESERVATION_TYPE,
} from '../../../scsi/reservations/type.js'

t.test('six of the sixteen values are types', async (t) => {
  const types = Array.from({ length: 16 }, (_, type) => type).filter(isReservationType)
  t.same(types, [1, 3, 5, 6, 7, 8])
  t.same(types, Object.values(RESERVATION_TYPE))
})

t.test('what a type means', async (t) => {
  const having = (has: (type: number) => boolean) => Object.values(RESERVATION_TYPE).filter(has)
  t.same(having(isWriteExclusive), [1, 5, 7])
  t.same(having(admitsRegistrants), [5, 6, 7, 8])
  t.same(having(isHeldByAll), [7, 8])
})
