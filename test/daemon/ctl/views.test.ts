import t from 'tap'
import * as views from '../../../daemon/ctl/views.js'
import { FakeControlTarget } from '../../support/control-target.js'

const target = new FakeControlTarget()

t.equal(
  views.statusView(target.status()),
  `version  1.2.3
Node.js  v20.0.0
process  4711
up       3 h 12 min
ready    yes

CONTROLLER  CONNECTED  QUEUES  STARTED  ADDRESS
vm          yes             4        2  /run/vm.sock
spare       no             64        0  fd 3
`,
)
t.equal(
  views.iothreadsView([
    ...target.iothreads(),
    { ...target.iothreads()[0]!, id: 'x', 'poll-max-ns': 0, queues: [0, 1, 3].flatMap((queue) => places(queue)) },
    { ...target.iothreads()[0]!, id: 'idle', queues: [] },
  ]),
  `IOTHREAD   TID  ENGINE    CPUS   POLL-MAX  ORIGIN         REQUESTS  SLEEPS  BEATS  MISSED  LAST    QUEUES
io0       5048  io_uring  0-2+6  32.8 us   configuration      1200      30     10       0  250 ms  vm:0,2
io1       5049  io_uring  any    32.8 us   configuration      1200      30     10       0  -       vm:1,3
x         5048  io_uring  0-2+6  off       configuration      1200      30     10       0  250 ms  a:0-1,3 b:0-1,3
idle      5048  io_uring  0-2+6  32.8 us   configuration      1200      30     10       0  250 ms  -
`,
)
t.equal(
  views.queuesView(target.queues().slice(1, 3)),
  `CONTROLLER  QUEUE  IOTHREAD   TID  STARTED  SIZE  MOVES  KICKS  CALLS  BATCHES  REQUESTS  DATA    ERRORS  TARGETLESS  FAULTS
vm              1  io1       5001  yes       256      0      7      6        5         4  5 MiB        0           0       0
vm              2  io0       5002  no          -      0      7      6        5         8  10 MiB       0           0       0
`,
)
t.equal(
  views.movesView([
    { controller: 'vm', queue: 0, from: 'io0', to: 'io1', 'pause-ns': 123_456 },
    { controller: 'vm', queue: 10, from: 'io1', to: 'io1', 'pause-ns': 0 },
  ]),
  `CONTROLLER  QUEUE  FROM  TO   PAUSE
vm              0  io0   io1  123.5 us
vm             10  io1   io1  -
`,
)
t.equal(
  views.lunsView([
    ...target.luns(),
    { ...target.luns()[0]!, id: 'x', controllers: [{ controller: 'b', target: 2, lun: 7, 'read-only': true }] },
    { ...target.luns()[0]!, id: 'unused', path: '/a\nb', 'write-fault': false, controllers: [] },
  ]),
  `LUN      DRIVER  SIZE     BLOCK  ACCESS      WRITE-FAULT  PLACES             PATH
root     file    20 GiB     512  read-write  yes          vm:0:0             /srv/root.img
scratch  memory  1.5 MiB    512  read-only   no           vm:0:1             -
x        file    20 GiB     512  read-write  yes          b:2:7 (read-only)  /srv/root.img
unused   file    20 GiB     512  read-write  no           -                  /a\\nb
`,
)

function places(queue: number) {
  return ['a', 'b'].map((controller) => ({ controller, queue }))
}
