import t from 'tap'
import { resolveConfig } from '../../daemon/config.js'

t.test('nothing configured: one memory LUN on the default socket', (t) => {
  const config = resolveConfig({}, { cpus: 8 })
  t.match(config, {
    luns: [{ id: 'disk0', driver: 'memory', size: 2 ** 30 }],
    controllers: [
      { id: 'controller0', socketPath: './vhost-user-scsi.sock', luns: [{ id: 'disk0', target: 0, lun: 0 }] },
    ],
    stopTimeoutSeconds: 10,
    logLevel: 'info',
    logFormat: 'text',
  })
  t.notOk('metricsListen' in config)
  t.notOk('controlSocket' in config)
  t.strictSame(structuredClone(config), config)
  t.end()
})

t.test('IOThreads', (t) => {
  const ids = (...args: Parameters<typeof resolveConfig>) => resolveConfig(...args).iothreads.map(({ id }) => id)
  t.strictSame(ids({}, { cpus: 8 }), ['io0', 'io1', 'io2', 'io3'], 'none given: min(4, CPUs)')
  t.strictSame(ids({}, { cpus: 2 }), ['io0', 'io1'])
  t.strictSame(ids({ iothreads: [] }, { cpus: 0 }), ['io0'])
  t.strictSame(resolveConfig({ iothreads: [{ id: 'a', cpus: [1], 'poll-max-ns': 0 }, { id: 'b' }] }).iothreads, [
    { id: 'a', cpus: [1], pollMaxNs: 0, pollGrow: 0, pollShrink: 0 },
    { id: 'b', pollMaxNs: 32768, pollGrow: 0, pollShrink: 0 },
  ])
  const one = resolveConfig({ iothreads: [{ id: 'a' }], controllers: [{ 'num-queues': 3 }] })
  t.strictSame(one.controllers[0]!.queueToIothread, [0, 0, 0], 'one: all queues on it')
  const several = resolveConfig({ iothreads: [{ id: 'a' }, { id: 'b' }], controllers: [{ 'num-queues': 3 }] })
  t.strictSame(several.controllers[0]!.queueToIothread, [0, 1, 0], 'several: round robin')
  t.throws(() => resolveConfig({ iothreads: [{ id: 'a' }, { id: 'a' }] }), { message: 'IOThread id "a" is used twice' })
  t.end()
})

t.test('worker-per-virtqueue', (t) => {
  const config = resolveConfig({ controllers: [{ 'worker-per-virtqueue': true, 'num-queues': 3 }] }, { cpus: 8 })
  t.strictSame(
    config.iothreads.map(({ id }) => id),
    ['controller0-vq0', 'controller0-vq1', 'controller0-vq2'],
  )
  t.strictSame(config.controllers[0]!.queueToIothread, [0, 1, 2])
  t.throws(() => resolveConfig({ iothreads: [{ id: 'a' }], controllers: [{ 'worker-per-virtqueue': true }] }), {
    message: 'worker-per-virtqueue makes an IOThread for each queue: no others can be used',
  })
  t.end()
})

t.test('the rest', (t) => {
  const config = resolveConfig({
    luns: [],
    metrics: { listen: { path: 'm.sock' } },
    log: { level: 'debug', format: 'json' },
    'stop-timeout': 0,
  })
  t.match(config, { metricsListen: { path: 'm.sock' }, logLevel: 'debug', logFormat: 'json', stopTimeoutSeconds: 0 })
  t.strictSame(config.luns, [])
  t.strictSame(config.controllers[0]!.luns, [])
  t.throws(() => resolveConfig({ controllers: [] }), { message: 'controllers: expected at least one' })
  t.end()
})

t.test('the control socket', (t) => {
  t.equal(resolveConfig({ control: { socket: 'c.sock' } }).controlSocket, 'c.sock')
  t.notOk('controlSocket' in resolveConfig({ control: {} }))
  const faults: [string, string][] = [
    ['c'.repeat(108), `control: ${'c'.repeat(108)}: the socket path has 108 bytes, the limit is 107`],
    ['a.sock', 'control: a.sock: is the socket of controller "vm"'],
  ]
  for (const [socket, message] of faults) {
    const settings = { control: { socket }, controllers: [{ id: 'vm', 'socket-path': 'a.sock' }] }
    t.throws(() => resolveConfig(settings), { code: 'VUS_CONFIG', message })
  }
  t.end()
})

t.test('every fault is found', (t) => {
  t.throws(() => resolveConfig({ luns: [{}, { driver: 'file' }], controllers: [{ iothread: 'x' }] }), {
    code: 'VUS_CONFIG',
    faults: [
      'LUN "disk0": expected path=FILE, or driver=memory or driver=null',
      'LUN "disk1": driver=file needs path=FILE',
      'controller "controller0": IOThread "x" object does not exist',
    ],
  })
  t.end()
})

t.test('a takeover needs a control socket and paths', (t) => {
  const control = { socket: 'c.sock' }
  t.match(resolveConfig({ takeover: true, control }), { takeover: true, controlSocket: 'c.sock' })
  t.notOk('takeover' in resolveConfig({ takeover: false, control }))
  t.throws(() => resolveConfig({ takeover: true }), {
    message: 'takeover: expected a control socket, the one of the daemon before',
  })
  t.throws(() => resolveConfig({ takeover: true, control, controllers: [{ id: 'vm', fd: 3 }] }), {
    message: 'takeover: controller "vm": expected a socket path, not fd 3',
  })
  t.end()
})
