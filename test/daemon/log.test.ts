import { closeSync, openSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { createLog, type LogOptions } from '../../daemon/log.js'
import type { Teardown } from '../support/teardown.js'
import { tempDir } from '../support/temp-dir.js'

const ESCAPE = '\u001b['

/** What stands in the file at the moment that the calls have returned. */
function written(
  t: Teardown,
  options: Omit<LogOptions, 'fd'>,
  write: (log: ReturnType<typeof createLog>) => void,
): string {
  const path = join(tempDir(t), 'log')
  const fd = openSync(path, 'w')
  t.teardown(() => closeSync(fd))
  write(createLog({ ...options, fd }))
  return readFileSync(path, 'utf8')
}

t.test('JSON lines, written before the call returns', (t) => {
  const text = written(t, { level: 'info', format: 'json' }, (log) => {
    log.debug('no')
    log.info({ lun: 'a' }, 'one')
    log.error({ err: new Error('x') }, 'two')
  })
  const lines = text
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line))
  t.match(lines, [
    { level: 30, lun: 'a', msg: 'one', time: /^\d{4}-/ },
    { level: 50, msg: 'two', err: { message: 'x' } },
  ])
  t.equal(lines.length, 2)
  t.end()
})

t.test('text, one line each, without colours where there is no terminal', (t) => {
  const text = written(t, { level: 'info', format: 'text' }, (log) => {
    log.info({ lun: 'a' }, 'one')
    log.warn('two')
  })
  const lines = text.trimEnd().split('\n')
  t.equal(lines.length, 2)
  t.match(lines[0], /INFO: one \{"lun":"a"\}/)
  t.match(lines[1], /WARN: two/)
  t.notOk(text.includes(ESCAPE))
  const coloured = written(t, { level: 'info', format: 'text', colour: true }, (log) => log.info('x'))
  t.ok(coloured.includes(ESCAPE))
  t.end()
})

t.test('silence', (t) => {
  t.equal(
    written(t, { level: 'silent', format: 'json' }, (log) => log.fatal('x')),
    '',
  )
  t.end()
})
