// What happens where io_uring is refused, in processes of their own with a seccomp filter.
import { join } from 'node:path'
import t from 'tap'
import { Child } from '../support/child.js'
import { DEADLINE } from '../support/iothreads/io-rig.js'
import type { RefusedReport } from '../support/iothreads/refused-uring.js'
import type { Teardown } from '../support/teardown.js'

async function run(t: Teardown, scenario: string): Promise<RefusedReport> {
  const program = join(import.meta.dirname, '../support/iothreads/refused-uring.js')
  const child = new Child(t, scenario, process.execPath, ['--enable-source-maps', program, scenario])
  const { code } = await child.ended(2 * DEADLINE)
  if (code !== 0) throw new Error(`${scenario}: exit code ${code}\n${child.report()}`)
  return JSON.parse(child.stdout) as RefusedReport
}

for (const errno of ['EPERM', 'ENOSYS']) {
  t.test(`io_uring_setup answers ${errno}: the work is done on epoll`, async (t) => {
    t.match(await run(t, errno), {
      engine: 'epoll',
      engineFault: `io_uring_setup: ${errno}`,
      forced: `io_uring_setup: ${errno}`,
      faults: [],
      failures: [],
    })
  })
}

t.test('io_uring_register is refused: files are used by their descriptors', async (t) => {
  t.match(await run(t, 'register'), { engine: 'io_uring', engineFault: null, forced: '', faults: [], failures: [] })
})

t.test('a kernel that does not know the newer flags: io_uring is used without them', async (t) => {
  const report = await run(t, 'flags')
  t.match(report, { engine: 'io_uring', engineFault: null, forced: '', faults: [], failures: [] })
  t.ok(report.refused >= 2, 'they were tried first')
})

t.test('io_uring_enter fails now and then: nothing is lost', async (t) => {
  const report = await run(t, 'enter')
  t.match(report, { engine: 'io_uring', engineFault: null, forced: '', faults: [], failures: [] })
  t.ok(report.refused >= report.commands / 20)
})
