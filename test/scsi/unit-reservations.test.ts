import t from 'tap'
import { ACCESS, createNexusWords, NEXUS_WORD } from '../../scsi/access.js'
import { NO_RESERVATIONS } from '../../scsi/reservations/index.js'
import { itNexus, type ReservingNexus, UnitReservations } from '../../scsi/unit-reservations.js'
import { A, B, C, ReservedUnit } from './support/reservations.js'

function nexusOf({ initiator, port }: typeof A): ReservingNexus {
  return { initiator, port: { relative: port, name: `300000000000010${port}` }, attention: createNexusWords() }
}

function setting() {
  const [a, b] = [nexusOf(A), nexusOf(B)]
  const nexuses = new Set([a, b])
  return { a, b, nexuses, reservations: new UnitReservations(nexuses) }
}

const accessWord = ({ attention }: ReservingNexus) => attention[NEXUS_WORD.ACCESS]

t.test('nexuses learn what conflicts', async (t) => {
  const { a, b, reservations } = setting()
  const unit = new ReservedUnit().register(A, 1)
  t.equal(reservations.change(unit.state), false)
  unit.reserve(A, 1, 1)
  t.equal(reservations.change(unit.state), true, 'writes of B conflict now')
  t.same([accessWord(a), accessWord(b)], [0, ACCESS.WRITE_EXCLUSIVE])
  t.equal(reservations.change(unit.state), false)
  t.equal(reservations.change(NO_RESERVATIONS), false, 'fewer conflict')
  t.same([accessWord(a), accessWord(b)], [0, 0])
  t.equal(a.attention[NEXUS_WORD.ATTENTION], 0)
})

t.test('one that comes is told', async (t) => {
  const { reservations, nexuses } = setting()
  reservations.change(new ReservedUnit().register(A, 1).reserve(A, 1, 3).state)
  const c = nexusOf(C)
  nexuses.add(c)
  t.equal(reservations.publish(), true)
  t.equal(accessWord(c), ACCESS.EXCLUSIVE_ACCESS)
  t.same(reservations.ports, [1, 2, 3])
})

t.test('whom an outcome means', async (t) => {
  const { a, b, nexuses, reservations } = setting()
  t.same(reservations.among(nexuses, [B, C, { ...A, port: 2 }]), [b])
  t.same(itNexus(a), A)
})

t.test('RESERVE ends with its nexus', async (t) => {
  const { a, b, reservations } = setting()
  reservations.change({ ...NO_RESERVATIONS, reserved: A })
  t.equal(accessWord(b), ACCESS.RESERVED)
  t.equal(reservations.lose(b), false)
  t.equal(reservations.lose(a), true)
  t.equal(accessWord(b), 0)
  reservations.change({ ...NO_RESERVATIONS, reserved: B })
  t.equal(reservations.lose(), true)
  t.equal(accessWord(a), 0)
  t.equal(reservations.lose(), false)
})
