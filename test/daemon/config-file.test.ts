import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { readConfigFile } from '../../daemon/config-file.js'
import { tempDir } from '../support/temp-dir.js'

t.test('a config file', (t) => {
  const dir = tempDir(t)
  const path = join(dir, 'c.json')
  const write = (text: string) => {
    writeFileSync(path, text)
    return () => readConfigFile(path)
  }
  t.strictSame(write('{"luns":[{"driver":"null","size":"1M","read-only":true}]}')(), {
    luns: [{ driver: 'null', size: 2 ** 20, 'read-only': true }],
  })
  t.throws(write('{"luns":'), { code: 'VUS_CONFIG', message: /c\.json: is not JSON: / })
  t.throws(write('{"luns":[{"size":true}],"x":1}'), {
    code: 'VUS_CONFIG',
    faults: [
      `${path}: luns[0].size: expected a size in bytes such as 1073741824, 512M or 1G, got true`,
      `${path}: unknown key "x", expected one of iothreads, luns, controllers, metrics, control, log, stop-timeout, state-dir, takeover`,
    ],
  })
  t.throws(() => readConfigFile(join(dir, 'none')), { message: `${join(dir, 'none')}: no such file or directory` })
  t.throws(() => readConfigFile(dir), { message: `${dir}: is a directory` })
  t.end()
})
