import { fileURLToPath } from 'node:url'
import t from 'tap'
import { Child } from '../child.js'
import { GUARD } from './guards.js'

const PROGRAM = fileURLToPath(new URL('guards-child.js', import.meta.url))

async function touch(distance: number, where = '') {
  const command = `ulimit -c 0; exec "$0" "$@"`
  const child = new Child(t, 'child', '/bin/sh', ['-c', command, process.execPath, PROGRAM, `${distance}`, where])
  return { ...(await child.ended(30_000)), stdout: child.stdout }
}

for (const where of ['', 'low']) {
  t.test(`a guarded mapping ${where}`, async (t) => {
    for (const distance of [0, 8191]) t.match(await touch(distance, where), { code: 0, stdout: '7' }, `at ${distance}`)
    for (const distance of [-1, -GUARD, 8192, 8192 + GUARD - 1]) {
      t.match(await touch(distance, where), { signal: 'SIGSEGV' }, `at ${distance}`)
    }
  })
}
