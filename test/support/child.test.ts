import t from 'tap'
import { Child } from './child.js'

t.test('output and exit status', async (t) => {
  const child = new Child(t, 'child', 'sh', ['-c', 'echo one; echo two >&2; exit 3'])
  t.equal((await child.output('stdout', /o(n)e/, 10_000))[1], 'n')
  t.same(await child.ended(10_000), { code: 3, signal: null })
  t.match(child.report(), /child stdout\none\n\n--- child stderr\ntwo/)
  t.notOk(child.running)
})

t.test('a process that ends before it says what is expected', async (t) => {
  const child = new Child(t, 'child', 'sh', ['-c', 'echo why >&2; exit 3'])
  await t.rejects(child.output('stdout', /ready/, 10_000), { message: 'child ended', report: /why/ })
})

t.test('a process that does not end is shown and killed', async (t) => {
  const child = new Child(t, 'child', 'sh', ['-c', 'echo busy; exec sleep 1000'])
  await child.output('stdout', /busy/, 10_000)
  await t.rejects(child.ended(10), { message: 'end of child: not within 10 ms', report: /busy/ })
  await child.kill()
  t.same(await child.exit, { code: null, signal: 'SIGKILL' })
})

t.test('further descriptors are connected sockets', async (t) => {
  const child = new Child(t, 'child', 'sh', ['-c', 'read -r line <&3; echo "$line back" >&3'], 1)
  const answer = new Promise((resolve) => child.pipe(3).once('data', (bytes) => resolve(`${bytes}`)))
  child.pipe(3).write('there and\n')
  t.equal(await answer, 'there and back\n')
})
