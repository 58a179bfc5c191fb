import t from 'tap'
import { z } from 'zod'
import { configSchema, controllerSchema, iothreadSchema, lunSchema } from '../../daemon/config-schema.js'
import { ConfigError } from '../../daemon/errors.js'
import { validate } from '../../daemon/validate.js'

function faults(schema: z.ZodType, value: unknown): readonly string[] {
  try {
    validate(schema, value, 'x')
    return []
  } catch (error) {
    if (error instanceof ConfigError) return error.faults
    throw error
  }
}

t.test('a LUN with every key', (t) => {
  const text = {
    id: 'root',
    target: '1',
    lun: '2',
    driver: 'file',
    path: '/a',
    'read-only': 'on',
    direct: 'off',
    discard: 'ignore',
    'block-size': '4096',
    'physical-block-size': '8K',
    serial: 'S 1',
    wwn: '0x5000C500DEADBEEF',
    vendor: 'ACME',
    product: 'Rocket',
    revision: '1.0',
    'rotation-rate': '7200',
    removable: 'off',
    'write-cache': 'off',
    rerror: 'report',
    werror: 'report',
    locking: 'off',
    'share-rw': 'on',
  }
  const parsed = {
    ...text,
    target: 1,
    lun: 2,
    'read-only': true,
    direct: false,
    'block-size': 4096,
    'physical-block-size': 8192,
    wwn: '5000c500deadbeef',
    'rotation-rate': 7200,
    removable: false,
    'write-cache': false,
    'share-rw': true,
  }
  t.strictSame(validate(lunSchema, text, 'x'), parsed, 'as a flag writes it')
  t.strictSame(validate(lunSchema, { ...parsed, wwn: '0x5000c500deadbeef' }, 'x'), parsed, 'as a file does')
  t.strictSame(validate(lunSchema, { driver: 'null', size: '1G', 'delay-us': '5' }, 'x'), {
    driver: 'null',
    size: 2 ** 30,
    'delay-us': 5,
  })
  t.end()
})

t.test('values of a LUN that are refused', (t) => {
  const cases: [string, string, string][] = [
    ['id', 'a b', "x: id: expected a name of at most 64 letters, digits, '.', '_' and '-', got \"a b\""],
    ['target', '256', 'x: target: expected a whole number from 0 to 255, got "256"'],
    ['lun', '16384', 'x: lun: expected a whole number from 0 to 16383, got "16384"'],
    ['driver', 'qcow2', 'x: driver: expected file, memory, null or nbd, got "qcow2"'],
    ['path', '', 'x: path: expected the path of an image, got ""'],
    ['size', '1X', 'x: size: expected a size in bytes such as 1073741824, 512M or 1G, got "1X"'],
    ['read-only', 'yes', 'x: read-only: expected on or off, got "yes"'],
    ['discard', 'on', 'x: discard: expected unmap or ignore, got "on"'],
    ['block-size', '1024', 'x: block-size: expected 512 or 4096, got "1024"'],
    ['physical-block-size', '3000', 'x: physical-block-size: expected a power of two from 512 to 2M, got "3000"'],
    ['physical-block-size', '4M', 'x: physical-block-size: expected a power of two from 512 to 2M, got "4M"'],
    ['serial', 'x'.repeat(37), `x: serial: expected 1 to 36 printable ASCII characters, got "${'x'.repeat(37)}"`],
    ['wwn', '5000c500deadbeef', 'x: wwn: expected 0x and 16 hex digits, got "5000c500deadbeef"'],
    ['vendor', 'ninechars', 'x: vendor: expected 1 to 8 printable ASCII characters, got "ninechars"'],
    ['product', '', 'x: product: expected 1 to 16 printable ASCII characters, got ""'],
    ['revision', '12345', 'x: revision: expected 1 to 4 printable ASCII characters, got "12345"'],
    [
      'rotation-rate',
      '2',
      'x: rotation-rate: expected 0 (not reported), 1 (non-rotating) or a rate from 1025 to 65534 rpm, got "2"',
    ],
    ['locking', 'on', 'x: locking: expected auto or off, got "on"'],
    ['delay-us', '-1', 'x: delay-us: expected a whole number from 0 to 60000000, got "-1"'],
  ]
  for (const [key, value, message] of cases) t.strictSame(faults(lunSchema, { [key]: value }), [message])
  t.match(faults(lunSchema, { bogus: '1' }), [/^x: unknown key "bogus", expected one of id, target, lun, /])
  t.end()
})

t.test('keys and values of a LUN that later versions may have', (t) => {
  for (const key of ['uri', 'throttle-group', 'iops-total', 'iops-read-max', 'bps-write', 'bps-total-max']) {
    t.strictSame(faults(lunSchema, { [key]: '1' }), [`x: ${key} is not supported by this version`])
  }
  const values: [string, string][] = [
    ['driver', 'nbd'],
    ['direct', 'on'],
    ['rerror', 'stop'],
    ['werror', 'enospc'],
  ]
  for (const [key, value] of values) {
    t.strictSame(faults(lunSchema, { [key]: value }), [`x: ${key}=${value} is not supported by this version`])
  }
  t.end()
})

t.test('an IOThread', (t) => {
  t.strictSame(
    validate(
      iothreadSchema,
      { id: 'io0', cpus: '0-3+6', 'poll-max-ns': '0', 'poll-grow': '2', 'poll-shrink': '4' },
      'x',
    ),
    { id: 'io0', cpus: [0, 1, 2, 3, 6], 'poll-max-ns': 0, 'poll-grow': 2, 'poll-shrink': 4 },
  )
  t.strictSame(validate(iothreadSchema, { id: 'io0', cpus: [6, 1, 1] }, 'x'), { id: 'io0', cpus: [1, 6] })
  t.match(faults(iothreadSchema, {}), [/^x: id: missing, expected a name/])
  for (const cpus of ['3-1', [], 5, [-1], [1024]]) t.match(faults(iothreadSchema, { id: 'a', cpus }), [/^x: cpus/])
  t.end()
})

t.test('a controller', (t) => {
  t.strictSame(
    validate(
      controllerSchema,
      {
        id: 'vm1',
        'socket-path': 'a.sock',
        'socket-mode': '0660',
        'socket-group': 'kvm',
        'num-queues': 4,
        'iothread-vq-mapping': [{ iothread: 'io0', vqs: [] }],
        'config-space': 'on',
        luns: [{ id: 'root', target: 0, lun: 1, 'read-only': true }],
      },
      'x',
    ),
    {
      id: 'vm1',
      'socket-path': 'a.sock',
      'socket-mode': 0o660,
      'socket-group': 'kvm',
      'num-queues': 4,
      'iothread-vq-mapping': [{ iothread: 'io0' }],
      'config-space': true,
      luns: [{ id: 'root', target: 0, lun: 1, 'read-only': true }],
    },
  )
  t.strictSame(faults(controllerSchema, { 'iothread-vq-mapping': [{}] }), [
    "x: iothread-vq-mapping: Parameter 'iothread-vq-mapping[0].iothread' is missing",
  ])
  for (const mode of ['999', '66', 432, '07777', '']) {
    t.match(faults(controllerSchema, { 'socket-mode': mode }), [/^x: socket-mode: expected permission bits in octal/])
  }
  t.match(faults(controllerSchema, { 'num-queues': 255 }), [/from 1 to 254, got 255$/])
  t.match(faults(controllerSchema, { 'socket-path': '' }), [/^x: socket-path: expected the path of a socket/])
  t.end()
})

t.test('the whole', (t) => {
  t.strictSame(
    validate(
      configSchema,
      {
        metrics: { listen: '[::1]:9100' },
        log: { level: 'debug', format: 'json' },
        'stop-timeout': 2.5,
        takeover: 'off',
        control: { socket: 'c.sock' },
      },
      'x',
    ),
    {
      metrics: { listen: { host: '::1', port: 9100 } },
      log: { level: 'debug', format: 'json' },
      'stop-timeout': 2.5,
      takeover: false,
      control: { socket: 'c.sock' },
    },
  )
  t.strictSame(faults(configSchema, { luns: {}, control: { path: 'c' }, takeover: 'yes', log: { level: 'loud' } }), [
    'x: luns: expected a list, got {}',
    'x: control: unknown key "path", expected one of socket',
    'x: log.level: expected trace, debug, info, warn, error, fatal or silent, got "loud"',
    'x: takeover: expected on or off, got "yes"',
  ])
  t.match(faults(configSchema, { metrics: { listen: '9100' } }), [
    'x: metrics.listen: expected HOST:PORT, [IPV6]:PORT or unix:PATH, got "9100"',
  ])
  t.end()
})

t.test('the schema can be published as a JSON Schema', (t) => {
  const schema = z.toJSONSchema(configSchema, { io: 'input' })
  t.match(schema, { type: 'object', additionalProperties: false, properties: { luns: { type: 'array' } } })
  t.end()
})
