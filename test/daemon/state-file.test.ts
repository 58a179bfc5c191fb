import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { StateFile } from '../../daemon/state-file.js'
import { tempDir } from '../support/temp-dir.js'

t.test('what is written is read', async (t) => {
  const directory = tempDir(t)
  const path = join(directory, 'state.json')
  const file = new StateFile(path)
  t.equal(await file.read(), undefined)
  await file.write('one')
  t.equal(readFileSync(path, 'utf8'), 'one')
  await file.write('two')
  t.equal(await new StateFile(path).read(), 'two')
  t.same(readdirSync(directory), ['state.json'])
})

t.test('what a crash has left of a write does not matter', async (t) => {
  const path = join(tempDir(t), 'state.json')
  const file = new StateFile(path)
  await file.write('old')
  writeFileSync(`${path}.new`, 'half of wh')
  t.equal(await file.read(), 'old')
  await file.write('new')
  t.equal(await file.read(), 'new')
})

t.test('one has it at a time', async (t) => {
  const path = join(tempDir(t), 'state.json')
  const [one, other] = [new StateFile(path), new StateFile(path)]
  t.equal(await one.lock(0), true)
  t.equal(one.isLocked, true)
  t.equal(await other.lock(0), false)
  t.equal(other.isLocked, false)
  const waiting = other.lock(60_000)
  one.close()
  t.equal(await waiting, true)
  other.close()
  t.equal(await one.lock(0), true)
  one.close()
})

t.test('faults', async (t) => {
  const directory = tempDir(t)
  await t.rejects(new StateFile(join(directory, 'none', 'x')).lock(0), { code: 'ENOENT' })
  await t.rejects(new StateFile(join(directory, 'none', 'x')).write(''), { code: 'ENOENT' })
  mkdirSync(join(directory, 'x'))
  await t.rejects(new StateFile(join(directory, 'x')).read(), { code: 'EISDIR' })
})
