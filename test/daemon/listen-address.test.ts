import t from 'tap'
import { formatListenAddress, parseListenAddress } from '../../daemon/listen-address.js'

t.test('addresses, there and back', (t) => {
  const cases: [string, object][] = [
    ['127.0.0.1:9100', { host: '127.0.0.1', port: 9100 }],
    ['localhost:0', { host: 'localhost', port: 0 }],
    ['[::1]:65535', { host: '::1', port: 65535 }],
    ['unix:/run/m.sock', { path: '/run/m.sock' }],
    ['unix:a:b', { path: 'a:b' }],
  ]
  for (const [text, address] of cases) {
    t.strictSame(parseListenAddress(text), address, text)
    t.equal(formatListenAddress(parseListenAddress(text)!), text)
  }
  t.end()
})

t.test('what is none', (t) => {
  for (const text of ['', 'unix:', '9100', ':9100', 'host:', 'host:65536', 'host:-1', '::1:9100', '[::1]', 'a b:1']) {
    t.equal(parseListenAddress(text), undefined, JSON.stringify(text))
  }
  t.end()
})
