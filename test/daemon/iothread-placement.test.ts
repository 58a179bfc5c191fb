import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { getAffinity } from 'memfd-mmap'
import t from 'tap'
import { Child } from '../support/child.js'
import { startDaemon } from '../support/daemon.js'
import { tempDir } from '../support/temp-dir.js'

const MAIN = fileURLToPath(new URL('../../daemon/main.js', import.meta.url))
const LIMIT_MS = 30_000

/** Cpus_allowed_list of each thread of a process, by the thread's name (proc(5), /proc/PID/task/TID/comm and status). */
function allowedCpus(pid: number): Map<string, string[]> {
  const allowed = new Map<string, string[]>()
  for (const tid of readdirSync(`/proc/${pid}/task`)) {
    const name = readFileSync(`/proc/${pid}/task/${tid}/comm`, 'utf8').trim()
    const status = readFileSync(`/proc/${pid}/task/${tid}/status`, 'utf8')
    allowed.set(name, [...(allowed.get(name) ?? []), /^Cpus_allowed_list:\t(.+)$/m.exec(status)![1]!])
  }
  return allowed
}

t.test('each IOThread is a thread of its name, on its CPUs', async (t) => {
  const last = getAffinity(0).at(-1)!
  const daemon = await startDaemon(t, [
    '--lun=driver=null,size=1M',
    `--iothread=id=bound,cpus=${last}`,
    '--iothread=id=free',
    '--num-queues=2',
  ])
  const mine = /^Cpus_allowed_list:\t(.+)$/m.exec(readFileSync('/proc/self/status', 'utf8'))![1]!
  const allowed = allowedCpus(daemon.pid)
  t.strictSame(allowed.get('bound'), [String(last)])
  t.strictSame(allowed.get('free'), [mine])
  allowed.delete('bound')
  t.strictSame(
    new Set([...allowed.values()].flat()),
    new Set([mine]),
    'the main thread and its helpers go where they please',
  )
  t.equal((await daemon.stop()).code, 0)
})

t.test('a CPU that is not there ends the start with one line', async (t) => {
  const socketPath = join(tempDir(t), 's.sock')
  const args = [MAIN, `--socket-path=${socketPath}`, '--lun=driver=null,size=1M', '--iothread=id=lost,cpus=1023']
  const child = new Child(t, 'vhost-user-scsid', process.execPath, args)
  t.strictSame(await child.ended(LIMIT_MS), { code: 2, signal: null })
  t.match(child.stderr, /^vhost-user-scsid: iothread "lost" on CPUs 1023: .*\n$/)
  t.equal(child.stdout, '')
  t.notOk(existsSync(socketPath))
})
