import t from 'tap'
import type { ControllerSettings, LunSettings } from '../../daemon/config-schema.js'
import type { ControllerConfig } from '../../daemon/daemon-config.js'
import { nameControllers, resolveControllers, type Scope, workerIds } from '../../daemon/resolve-controllers.js'
import { nameLuns, resolveLuns } from '../../daemon/resolve-luns.js'
import { targetPort } from '../../daemon/target-ports.js'

const IOTHREADS = ['io0', 'io1', 'io2']

function resolve(
  controllers: ControllerSettings[],
  luns: LunSettings[] = [{ driver: 'null' }],
): { controllers: ControllerConfig[]; faults: string[] } {
  const faults: string[] = []
  const named = nameControllers(controllers)
  const lunSettings = nameLuns(luns)
  const scope: Scope = {
    iothreadIds: [...IOTHREADS, ...named.flatMap(workerIds)],
    sharedIothreadIds: IOTHREADS,
    lunSettings,
    luns: resolveLuns(lunSettings, faults),
  }
  return { controllers: resolveControllers(named, scope, faults), faults }
}

function faultsOf(...args: Parameters<typeof resolve>): string[] {
  return resolve(...args).faults
}

t.test('names', (t) => {
  const ids = nameControllers([{}, { id: 'controller1' }, {}]).map(({ id }) => id)
  t.strictSame(ids, ['controller0', 'controller1', 'controller2'])
  t.end()
})

t.test('defaults', (t) => {
  t.strictSame(resolve([{}]), {
    faults: [],
    controllers: [
      {
        id: 'controller0',
        port: targetPort('controller0'),
        socketPath: './vhost-user-scsi.sock',
        numQueues: 64,
        queueToIothread: Array.from({ length: 64 }, (_, i) => i % 3),
        configSpace: false,
        luns: [{ id: 'disk0', target: 0, lun: 0, readOnly: false }],
      },
    ],
  })
  t.end()
})

t.test('socket', (t) => {
  t.match(resolve([{ fd: 5 }]).controllers, [{ fd: 5, socketPath: undefined }])
  t.match(resolve([{ 'socket-path': 'a', 'socket-mode': 0o660, 'socket-group': 'root' }]).controllers, [
    { socketPath: 'a', socketMode: 0o660, socketGid: 0 },
  ])
  const long = 'ä'.repeat(54)
  t.strictSame(faultsOf([{ 'socket-path': long }]), [
    `controller "controller0": ${long}: the socket path has 108 bytes, the limit is 107`,
  ])
  t.strictSame(faultsOf([{ 'socket-path': 'x'.repeat(107) }]), [])
  t.strictSame(faultsOf([{ 'socket-path': 'a', fd: 3 }]), [
    'controller "controller0": socket-path and fd cannot be set at the same time',
  ])
  t.strictSame(faultsOf([{ fd: 3, 'socket-mode': 0o600 }]), [
    'controller "controller0": socket-mode and socket-group have no meaning with fd',
  ])
  t.strictSame(faultsOf([{ 'socket-group': 'no-such-group' }]), [
    'controller "controller0": no such group: no-such-group',
  ])
  t.end()
})

t.test('queues', (t) => {
  const queues = (controller: ControllerSettings) => {
    const { controllers, faults } = resolve([controller])
    t.strictSame(faults, [])
    return controllers[0]!.queueToIothread
  }
  t.strictSame(queues({ 'num-queues': 4 }), [0, 1, 2, 0])
  t.strictSame(queues({ 'num-queues': 3, iothread: 'io2' }), [2, 2, 2])
  t.strictSame(
    queues({ 'num-queues': 3, 'iothread-vq-mapping': [{ iothread: 'io1' }, { iothread: 'io0' }] }),
    [1, 0, 1],
  )
  t.strictSame(
    queues({
      'iothread-vq-mapping': [
        { iothread: 'io0', vqs: [0, 2] },
        { iothread: 'io1', vqs: [1, 3] },
      ],
    }),
    [0, 1, 0, 1],
    'an explicit mapping fixes the number',
  )
  t.strictSame(queues({ 'num-queues': 2, 'worker-per-virtqueue': true }), [3, 4])
  const { controllers } = resolve([
    { 'socket-path': 'a', fd: undefined, 'num-queues': 2, 'worker-per-virtqueue': true, luns: [] },
    { 'socket-path': 'b', 'num-queues': 4, luns: [] },
  ])
  t.strictSame(
    controllers.map(({ queueToIothread }) => queueToIothread),
    [
      [3, 4],
      [0, 1, 2, 0],
    ],
    'the workers of one controller are not for another',
  )
  t.end()
})

t.test('queue faults', (t) => {
  const fault = (controller: ControllerSettings, text: string) =>
    t.strictSame(faultsOf([controller]), [`controller "controller0": ${text}`])
  fault({ iothread: 'io9' }, 'IOThread "io9" object does not exist')
  fault(
    { iothread: 'io0', 'iothread-vq-mapping': [{ iothread: 'io1' }] },
    'iothread and iothread-vq-mapping properties cannot be set at the same time',
  )
  fault(
    { iothread: 'io0', 'worker-per-virtqueue': true },
    'worker-per-virtqueue cannot be set together with iothread or iothread-vq-mapping',
  )
  fault(
    { 'num-queues': 2, 'iothread-vq-mapping': [{ iothread: 'io0', vqs: [0, 1, 2] }] },
    'vq index 2 for IOThread "io0" must be less than num_queues 2 in iothread-vq-mapping',
  )
  fault(
    { 'num-queues': 3, 'iothread-vq-mapping': [{ iothread: 'io0', vqs: [0, 1] }] },
    'missing vq 2 IOThread assignment in iothread-vq-mapping',
  )
  fault(
    { 'iothread-vq-mapping': [{ iothread: 'io0', vqs: [254] }] },
    'vq index 254 for IOThread "io0" must be less than num_queues 254 in iothread-vq-mapping',
  )
  t.end()
})

t.test('places', (t) => {
  const none: LunSettings = { driver: 'null' }
  const { controllers, faults } = resolve(
    [{}],
    [
      none,
      { ...none, lun: 0 },
      { ...none, target: 3 },
      { ...none, lun: 2, 'read-only': true },
      none,
      { ...none, target: 3 },
    ],
  )
  t.strictSame(faults, [])
  t.strictSame(
    controllers[0]!.luns.map(({ target, lun, readOnly }) => `${target}:${lun}${readOnly ? ' ro' : ''}`),
    ['0:1', '0:0', '3:0', '0:2 ro', '0:3', '3:1'],
    'what is asked for first, then the lowest free ones',
  )
  t.strictSame(
    faultsOf(
      [{}],
      [
        { ...none, id: 'a', lun: 1 },
        { ...none, id: 'b', lun: 1 },
      ],
    ),
    ['controller "controller0": target 0 lun 1 is given to both LUN "a" and LUN "b"'],
  )
  t.strictSame(
    faultsOf(
      [{}],
      [
        { ...none, lun: 16383 },
        ...Array.from({ length: 16383 }, (_, lun) => ({ ...none, lun })),
        { ...none, id: 'extra' },
      ],
    ),
    ['controller "controller0": target 0 has no free LUN number for LUN "extra"'],
  )
  t.end()
})

t.test("a controller's list of LUNs is its access list", (t) => {
  const luns: LunSettings[] = [
    { id: 'a', driver: 'null', target: 2, lun: 7 },
    { id: 'b', driver: 'null', 'read-only': true },
  ]
  const { controllers, faults } = resolve(
    [
      {
        'socket-path': 'x',
        luns: [
          { id: 'a', 'read-only': true },
          { id: 'b', target: 1, lun: 1 },
        ],
      },
      { 'socket-path': 'y', luns: [{ id: 'a', target: 0 }] },
      { 'socket-path': 'z', luns: [] },
    ],
    luns,
  )
  t.strictSame(faults, [])
  t.strictSame(
    controllers.map((controller) => controller.luns),
    [
      [
        { id: 'a', target: 2, readOnly: true, lun: 7 },
        { id: 'b', target: 1, readOnly: true, lun: 1 },
      ],
      [{ id: 'a', target: 0, readOnly: false, lun: 7 }],
      [],
    ],
  )
  t.strictSame(faultsOf([{ luns: [{ id: 'nope' }] }], luns), ['controller "controller0": LUN "nope" does not exist'])
  t.strictSame(faultsOf([{ luns: [{ id: 'a' }, { id: 'a', lun: 1 }] }], luns), [
    'controller "controller0": LUN "a" is listed twice',
  ])
  t.end()
})

t.test('several controllers', (t) => {
  t.strictSame(
    faultsOf([
      { id: 'x', 'socket-path': 'a', luns: [] },
      { id: 'x', 'socket-path': 'a', luns: [] },
    ]),
    ['controller id "x" is used twice', 'controller "x": a: is the socket of another controller'],
  )
  t.strictSame(
    faultsOf([
      { fd: 3, luns: [] },
      { fd: 3, luns: [] },
    ]),
    ['controller "controller1": fd 3 belongs to another controller'],
  )
  t.strictSame(faultsOf([{ 'socket-path': 'a' }, { 'socket-path': 'b' }]), [
    'LUN "disk0": both controller "controller0" and controller "controller1" could write to it, ' +
      'expected share-rw=on, or read-only=on for all but one',
  ])
  t.end()
})

t.test('who may write to a LUN', (t) => {
  const two = (readOnly: boolean): ControllerSettings[] => [
    { id: 'x', 'socket-path': 'a', luns: [{ id: 'd' }] },
    { id: 'y', 'socket-path': 'b', luns: [{ id: 'd', 'read-only': readOnly }] },
    { id: 'z', 'socket-path': 'c', luns: [{ id: 'd', 'read-only': true }] },
  ]
  const fault =
    'LUN "d": both controller "x" and controller "y" could write to it, ' +
    'expected share-rw=on, or read-only=on for all but one'
  t.strictSame(faultsOf(two(false), [{ id: 'd', driver: 'null' }]), [fault])
  t.strictSame(faultsOf(two(false), [{ id: 'd', driver: 'null', 'share-rw': false }]), [fault])
  t.strictSame(faultsOf(two(false), [{ id: 'd', driver: 'null', 'share-rw': true }]), [])
  t.strictSame(faultsOf(two(true), [{ id: 'd', driver: 'null' }]), [], 'one writer')
  const others: LunSettings[] = [
    { id: 'd', driver: 'null' },
    { id: 'e', driver: 'null', 'share-rw': true },
  ]
  t.strictSame(faultsOf(two(false), others), [fault], 'of another LUN')
  t.strictSame(faultsOf(two(false), [{ id: 'd', driver: 'null', 'read-only': true }]), [])
  t.end()
})
