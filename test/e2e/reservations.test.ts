// One guest, two controllers, one LUN: sg_persist from both paths.
import t from 'tap'
import { startConfigured } from '../support/configured-daemon.js'
import { startGuest } from '../support/guest/guest.js'
import { guestTest } from '../support/guest/requirements.js'

t.setTimeout(360_000)

const PROGRAMS = ['sg_persist', 'sg_turs', 'dd']

/** Exit statuses: of sg3_utils, sg3_utils(8), and of dd. */
const CONFLICT = 24
const ATTENTION = 6
const FAILED = 1

/**
 * Prints the exit statuses of a walk through a reservation of type $1: A registers and reserves, B is kept out, registers and preempts A (by key
 * $2), A is told and kept out; B releases, reserves again, and A clears that. Unit attentions are seen by sg_turs.
 */
const WALK = `
A=/dev/sda B=/dev/sdb
said() { status=0; "$@" > /dev/null 2>&1 || status=$?; printf '%s ' $status; }
p() { said sg_persist --no-inquiry --out "$@"; }
told() { said sg_turs $1; }
w() { said dd if=/dev/zero of=$1 bs=512 count=1 oflag=direct; }
r() { said dd if=$1 of=/dev/null bs=512 count=1 iflag=direct; }
walk() {
  p --register --param-sark=0xa $A
  p --reserve --param-rk=0 --prout-type=$1 $B
  p --reserve --param-rk=0xa --prout-type=$1 $A
  w $A; r $B; w $B
  p --register --param-sark=0xb $B
  r $B; w $B
  p --preempt --param-rk=0xb --param-sark=$2 --prout-type=$1 $B
  told $A; told $A; w $B; r $A; w $A
  p --register --param-sark=0xa $A
  p --release --param-rk=0xb --prout-type=$1 $B
  told $A; told $A; w $A
  p --reserve --param-rk=0xb --prout-type=$1 $B
  p --clear --param-rk=0xa $A
  told $B; told $B; w $A; w $B
}
`

/** What `walk` prints. `stranger`: read and write of who is not registered; `registrant`: of who is. */
function walked(type: number, stranger: readonly number[], registrant: readonly number[]): number[] {
  return [
    ...[0, CONFLICT, 0],
    ...[0, ...stranger],
    0,
    ...registrant,
    ...[0, ATTENTION, 0, 0, ...stranger],
    ...[0, 0, type >= 5 ? ATTENTION : 0, 0, 0],
    ...[0, 0, ATTENTION, 0, 0, 0],
  ]
}

const READS = [0, FAILED]
const NOTHING = [FAILED, FAILED]
const ALL = [0, 0]

t.test('reservations of all types, from both paths', guestTest(PROGRAMS), async (t) => {
  const luns = [{ id: 'disk', driver: 'memory', size: '16M', 'share-rw': 'on', serial: 'SHARED' }]
  const controllers = ['a', 'b'].map((id) => ({ id, 'num-queues': 2, luns: [{ id: 'disk', target: 0, lun: 0 }] }))
  const daemons = await startConfigured(t, { luns, controllers })
  const devices = daemons.flatMap(({ socketPath }, i) => [
    ...['-chardev', `socket,id=path${i},path=${socketPath}`],
    ...['-device', `vhost-user-scsi-pci,id=scsi${i},chardev=path${i},num_queues=2`],
  ])
  const guest = await startGuest(t, { devices, programs: PROGRAMS, report: () => daemons[0]!.child.report() })
  await guest.check('test -b /dev/sda && test -b /dev/sdb')
  for (const [type, stranger, registrant] of [
    [1, READS, READS],
    [3, NOTHING, NOTHING],
    [5, READS, ALL],
    [6, NOTHING, ALL],
    [7, READS, ALL],
    [8, NOTHING, ALL],
  ] as const) {
    const printed = await guest.check(`${WALK}walk ${type} ${type < 7 ? '0xa' : '0'}`)
    t.same(printed.trim().split(' ').map(Number), walked(type, stranger, registrant), `type ${type}`)
  }
  const status = `sg_persist --no-inquiry --out --register --param-sark=0xa /dev/sda > /dev/null && sg_persist --in --read-full-status /dev/sdb`
  const full = await guest.check(status)
  t.match(full, /Key=0xa/)
  t.match(full, /SAS address: 0x3[0-9a-f]{15}/)
  t.match(
    await guest.check('sg_persist --in --report-capabilities /dev/sda'),
    /Persist Through power loss Capable.*: 0/i,
  )
})
