import t from 'tap'
import { initiatorPort } from '../../daemon/initiator-port.js'

t.test('a controller has the same always', async (t) => {
  // What guests are registered by: it must not change with a release.
  t.equal(initiatorPort('vm0'), '322a0b8112b8e99a')
})

t.test('and others have others', async (t) => {
  const all = Array.from({ length: 1000 }, (_, i) => initiatorPort(`vm${i}`))
  t.equal(new Set(all).size, all.length)
  t.ok(all.every((each) => /^3[0-9a-f]{15}$/.test(each)))
})
