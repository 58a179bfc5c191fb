import t from 'tap'
import { targetPort, targetPorts } from '../../daemon/target-ports.js'

t.test('a port derives from the id of its controller', async (t) => {
  t.same(targetPort('vm'), targetPort('vm'))
  t.notSame(targetPort('vm'), targetPort('vm2'))
  for (const id of ['', 'vm', 'controller0', 'ü']) {
    const { relative, name } = targetPort(id)
    t.ok(Number.isInteger(relative) && relative >= 1 && relative <= 65535)
    t.match(name, /^3[0-9a-f]{15}$/)
  }
})

t.test('no two of a daemon have the same number', async (t) => {
  const ids = Array.from({ length: 3000 }, (_, i) => `vm${i}`)
  const alone = ids.map((id) => targetPort(id))
  t.ok(new Set(alone.map(({ relative }) => relative)).size < ids.length, 'some would have')
  const ports = targetPorts(ids)
  t.equal(new Set(ports.map(({ relative }) => relative)).size, ids.length)
  t.ok(ports.every(({ relative }) => relative >= 1 && relative <= 65535))
  t.same(
    ports.map(({ name }) => name),
    alone.map(({ name }) => name),
  )
  t.same(ports[0], alone[0])
})
