import t from 'tap'
import { flagsFromEnvironment } from '../../daemon/environment.js'

t.test('flags from the environment', (t) => {
  const known = { 'socket-path': false, lun: false, takeover: true }
  t.strictSame(
    flagsFromEnvironment(
      {
        VHOST_USER_SCSID_SOCKET_PATH: '/a',
        VHOST_USER_SCSID_TAKEOVER: 'on',
        VHOST_USER_SCSID_COLOUR: 'red',
        VHOST_USER_SCSID_: 'x',
        SOCKET_PATH: 'no',
      },
      known,
    ),
    { 'socket-path': '/a', takeover: true },
    'unknown ones are left alone',
  )
  for (const [text, state] of [
    ['true', true],
    ['1', true],
    ['off', false],
    ['false', false],
    ['0', false],
  ] as const) {
    t.strictSame(flagsFromEnvironment({ VHOST_USER_SCSID_TAKEOVER: text }, known), { takeover: state })
  }
  t.throws(() => flagsFromEnvironment({ VHOST_USER_SCSID_TAKEOVER: 'maybe' }, known), {
    code: 'VUS_USAGE',
    message: 'VHOST_USER_SCSID_TAKEOVER: expected on or off, got "maybe"',
  })
  t.end()
})
