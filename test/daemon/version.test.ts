import { readFileSync } from 'node:fs'
import t from 'tap'
import { daemonVersion } from '../../daemon/version.js'

t.test("the version is the package's", (t) => {
  const text = readFileSync(new URL('../../../package.json', import.meta.url), 'utf8')
  t.equal(daemonVersion(), JSON.parse(text).version)
  t.match(daemonVersion(), /^\d+\.\d+\.\d+/)
  t.end()
})
