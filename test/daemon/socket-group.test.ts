import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { resolveGroup } from '../../daemon/socket-group.js'
import { tempDir } from '../support/temp-dir.js'

t.test('groups by name and number', (t) => {
  const file = join(tempDir(t), 'group')
  writeFileSync(file, 'root:x:0:\nkvm:x:106:alice,bob\nbroken\nodd:x:y:\n')
  t.equal(resolveGroup('kvm', file), 106)
  t.equal(resolveGroup('root', file), 0)
  t.equal(resolveGroup('12345', file), 12345)
  for (const group of ['nobody', 'broken', 'odd', 'kv', '', '4294967295', '-1']) {
    t.equal(resolveGroup(group, file), undefined, JSON.stringify(group))
  }
  t.equal(resolveGroup('root'), 0, 'the system has a root group')
  t.end()
})
