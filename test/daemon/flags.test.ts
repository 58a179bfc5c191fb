import t from 'tap'
import type { Settings } from '../../daemon/config-schema.js'
import { mergeSettings, settingsFromFlags } from '../../daemon/flags.js'

t.test('no flags, no settings', (t) => {
  t.strictSame(settingsFromFlags({}), {})
  t.strictSame(settingsFromFlags({ takeover: false, 'worker-per-virtqueue': false }), {})
  t.strictSame(settingsFromFlags({ takeover: true }), { takeover: true })
  t.end()
})

t.test('flags make the structure of a file', (t) => {
  t.strictSame(
    settingsFromFlags({
      'socket-path': 'a.sock',
      'socket-mode': '0660',
      'socket-group': 'kvm',
      'num-queues': '4',
      'iothread-vq-mapping': '[{"iothread":"io0"}]',
      lun: ['path=/a', 'driver=null,size=1M'],
      iothread: 'id=io0',
      'metrics-listen': 'unix:m.sock',
      'control-socket': 'c.sock',
      'stop-timeout': '5',
      'log-level': 'debug',
      'log-format': 'json',
    }),
    {
      luns: [{ path: '/a' }, { driver: 'null', size: 2 ** 20 }],
      iothreads: [{ id: 'io0' }],
      controllers: [
        {
          'socket-path': 'a.sock',
          'socket-mode': 0o660,
          'socket-group': 'kvm',
          'num-queues': 4,
          'iothread-vq-mapping': [{ iothread: 'io0' }],
        },
      ],
      metrics: { listen: { path: 'm.sock' } },
      control: { socket: 'c.sock' },
      log: { level: 'debug', format: 'json' },
      'stop-timeout': 5,
    },
  )
  t.strictSame(settingsFromFlags({ fd: '3', 'worker-per-virtqueue': true, 'log-level': 'warn' }), {
    controllers: [{ fd: 3, 'worker-per-virtqueue': true }],
    log: { level: 'warn' },
  })
  t.end()
})

t.test('faults', (t) => {
  const cases: [Record<string, unknown>, string][] = [
    [{ 'socket-path': 'a', fd: '3' }, '--socket-path and --fd cannot be given at the same time'],
    [{ 'num-queues': '0' }, '--num-queues: expected a whole number from 1 to 254, got "0"'],
    [{ 'num-queues': ['1', '2'] }, '--num-queues is given 2 times'],
    [{ fd: 'x' }, '--fd: expected a whole number from 0 to 2147483647, got "x"'],
    [{ 'metrics-listen': 'x' }, '--metrics-listen: expected HOST:PORT, [IPV6]:PORT or unix:PATH, got "x"'],
    [{ 'stop-timeout': '-1' }, '--stop-timeout: expected a number of seconds from 0 to 3600, got "-1"'],
    [
      { 'iothread-vq-mapping': '[{}]' },
      "--iothread-vq-mapping: Parameter 'iothread-vq-mapping[0].iothread' is missing",
    ],
    [{ 'iothread-vq-mapping': ['[]', '[]'] }, '--iothread-vq-mapping is given 2 times'],
    [{ 'control-socket': '' }, '--control-socket: expected the path of a socket, got ""'],
    [{ 'control-socket': ['a', 'b'] }, '--control-socket is given 2 times'],
    [{ takeover: true, fd: '3' }, '--takeover and --fd cannot be given at the same time'],
  ]
  for (const [flags, message] of cases) t.throws(() => settingsFromFlags(flags), { message }, JSON.stringify(flags))
  t.end()
})

t.test('a file and flags', (t) => {
  const base: Settings = {
    luns: [{ id: 'root', path: '/a' }],
    iothreads: [{ id: 'io0' }],
    controllers: [{ id: 'vm', 'socket-path': 'a', 'num-queues': 2, iothread: 'io0', luns: [{ id: 'root', lun: 5 }] }],
    log: { level: 'debug', format: 'json' },
    metrics: { listen: { path: 'm' } },
    control: { socket: 'c' },
    'stop-timeout': 3,
  }
  const merge = (flags: Parameters<typeof settingsFromFlags>[0]) =>
    mergeSettings(base, settingsFromFlags(flags), 'f.json')
  t.strictSame(merge({}), base)
  t.strictSame(merge({ lun: 'driver=null', iothread: 'id=io1' }), {
    ...base,
    luns: [
      { id: 'root', path: '/a' },
      { driver: 'null', id: 'disk0' },
    ],
    iothreads: [{ id: 'io0' }, { id: 'io1' }],
    controllers: [{ ...base.controllers![0], luns: [{ id: 'root', lun: 5 }, { id: 'disk0' }] }],
  })
  t.match(merge({ 'control-socket': 'd' }), { control: { socket: 'd' } })
  const single = merge({ 'num-queues': '8', 'log-level': 'warn', 'stop-timeout': '1', 'metrics-listen': 'unix:n' })
  t.match(single, { log: { level: 'warn', format: 'json' }, 'stop-timeout': 1, metrics: { listen: { path: 'n' } } })
  t.strictSame(single.controllers, [{ ...base.controllers![0], 'num-queues': 8 }])
  t.strictSame(
    merge({ fd: '3', 'iothread-vq-mapping': '[{"iothread":"io0"}]' }).controllers,
    [
      {
        id: 'vm',
        fd: 3,
        'num-queues': 2,
        'iothread-vq-mapping': [{ iothread: 'io0' }],
        luns: [{ id: 'root', lun: 5 }],
      },
    ],
    'a choice replaces a choice',
  )
  t.end()
})

t.test('a file without controllers or LUNs', (t) => {
  t.strictSame(mergeSettings({}, settingsFromFlags({}), 'f.json'), {
    iothreads: [],
    controllers: undefined,
    metrics: {},
    log: {},
  })
  t.match(mergeSettings({}, settingsFromFlags({ fd: '3' }), 'f.json'), { controllers: [{ fd: 3 }] })
  t.end()
})

t.test('a file with several controllers', (t) => {
  const base: Settings = { controllers: [{ id: 'a' }, { id: 'b' }] }
  t.match(mergeSettings(base, settingsFromFlags({ 'log-level': 'warn' }), 'f.json').controllers, base.controllers)
  for (const flags of [{ 'num-queues': '1' }, { lun: 'driver=null' }]) {
    t.throws(() => mergeSettings(base, settingsFromFlags(flags), 'f.json'), {
      code: 'VUS_USAGE',
      message: 'f.json has 2 controllers: flags for a controller or a LUN would mean none',
    })
  }
  t.end()
})
