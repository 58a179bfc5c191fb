import { readFileSync } from 'node:fs'
import t from 'tap'
import { NackError, ProtocolError, REFUSALS, RefusedError, SESSION_EVENTS, WIRE_FAULTS } from 'vhost-user-protocol-ts'

t.test('errors carry their code, and a message for people', async (t) => {
  t.match(new ProtocolError('VUS_TRUNCATED'), { code: 'VUS_TRUNCATED', message: WIRE_FAULTS.VUS_TRUNCATED })
  t.match(new ProtocolError('VUS_TRUNCATED', 'after 3 bytes'), { message: /middle of a message: after 3 bytes$/ })
  t.match(new RefusedError('VUS_RING_SIZE'), { code: 'VUS_RING_SIZE', message: REFUSALS.VUS_RING_SIZE })
  t.match(new RefusedError('VUS_RING_SIZE', 'ring 2'), { message: /: ring 2$/ })
  t.match(new NackError(5, 'SET_MEM_TABLE', 1n), { code: 'VUS_NACK', request: 5, value: 1n, message: /SET_MEM_TABLE/ })
})

t.test('no code has two meanings', async (t) => {
  const codes = [WIRE_FAULTS, REFUSALS, SESSION_EVENTS].flatMap((table) => Object.keys(table))
  t.equal(new Set(codes).size, codes.length)
  for (const code of codes) t.match(code, /^VUS_[A-Z_]+$/)
})

t.test('the README lists them all', async (t) => {
  const readme = readFileSync(new URL('../../../../protocol/README.md', import.meta.url), 'utf8')
  for (const table of [WIRE_FAULTS, REFUSALS, SESSION_EVENTS]) {
    for (const [code, meaning] of Object.entries(table)) {
      t.ok(readme.includes(`| \`${code}\` | ${meaning} |\n`), code)
    }
  }
})
