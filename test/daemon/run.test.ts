import t from 'tap'
import { Child } from '../support/child.js'
import type { Teardown } from '../support/teardown.js'

const RUN = new URL('../../daemon/run.js', import.meta.url).href
const ERRORS = new URL('../../daemon/errors.js', import.meta.url).href
const LIMIT_MS = 30_000

// Many processes, one after another.
t.setTimeout(240_000)

/**
 * A process that runs the daemon's shell around a made-up core. `start` is the body of startDaemon(config, log), in which `never` is a
 * promise that stays pending.
 */
function runner(t: Teardown, args: string[], start: string): Child {
  const code = `
    const { run } = await import(${JSON.stringify(RUN)})
    const { StartError } = await import(${JSON.stringify(ERRORS)})
    const never = new Promise(() => {})
    setInterval(() => {}, 1e6)
    await run(${JSON.stringify(args)}, {}, async (config, log) => { ${start} })`
  return new Child(t, 'runner', process.execPath, ['--input-type=module', '--eval', code])
}

const STOPPED = "stop: async () => console.log('stopped')"

async function ended(child: Child): Promise<{ code: number | null; stdout: string; stderr: string }> {
  const { code } = await child.ended(LIMIT_MS)
  return { code, stdout: child.stdout, stderr: child.stderr }
}

for (const signal of ['SIGTERM', 'SIGINT'] as const) {
  t.test(`${signal} stops the daemon`, async (t) => {
    const child = runner(t, ['--socket-path=/tmp/x.sock'], `return { finished: never, ${STOPPED} }`)
    await child.output('stdout', /^listening on \/tmp\/x\.sock; QEMU: .*$/m, LIMIT_MS)
    child.process.kill(signal)
    const { code, stdout, stderr } = await ended(child)
    t.equal(code, 0)
    t.match(stdout, /\nstopped\n$/)
    t.match(stderr, new RegExp(`INFO: ${signal}: stopping\n$`))
  })
}

t.test('a second signal does not wait', async (t) => {
  const start = "return { finished: never, stop: () => { console.log('stopping'); return never } }"
  const child = runner(t, ['--log-format=json'], start)
  await child.output('stdout', /^listening/m, LIMIT_MS)
  child.process.kill('SIGTERM')
  await child.output('stdout', /^stopping$/m, LIMIT_MS)
  child.process.kill('SIGINT')
  const { code, stderr } = await ended(child)
  t.equal(code, 1)
  t.strictSame(
    stderr
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line).msg),
    ['SIGTERM: stopping', 'SIGINT again: leaving at once'],
  )
})

t.test('a signal during the start', async (t) => {
  const start = `
    console.log('starting')
    await new Promise((done) => process.once('SIGTERM', done))
    return { finished: never, ${STOPPED} }`
  const child = runner(t, [], start)
  await child.output('stdout', /^starting$/m, LIMIT_MS)
  child.process.kill('SIGTERM')
  const { code, stdout } = await ended(child)
  t.equal(code, 0)
  t.match(stdout, /stopped\n$/)
})

t.test('one line for each controller', async (t) => {
  const child = runner(t, ['--fd=5'], `return { finished: never, ${STOPPED} }`)
  await child.output('stdout', /^serving fd 5$/m, LIMIT_MS)
})

t.test('nothing left to serve', async (t) => {
  t.match(await ended(runner(t, [], `return { finished: Promise.resolve(), ${STOPPED} }`)), {
    code: 0,
    stdout: /stopped\n$/,
  })
  t.match(await ended(runner(t, [], `return { finished: Promise.reject(new Error('worker died')), ${STOPPED} }`)), {
    code: 1,
    stdout: /stopped\n$/,
    stderr: /FATAL: stopping because of a fault[\s\S]*worker died/,
  })
})

t.test('faults at start are one line', async (t) => {
  t.strictSame(await ended(runner(t, [], "throw new StartError('EBUSY', 'a\\nb: busy')")), {
    code: 2,
    stdout: '',
    stderr: 'vhost-user-scsid: a\\nb: busy\n',
  })
  t.strictSame(await ended(runner(t, [], "throw new Error('out of luck')")), {
    code: 1,
    stdout: '',
    stderr: 'vhost-user-scsid: out of luck\n',
  })
  t.strictSame(await ended(runner(t, ['--num-queues=0'], 'throw 1')), {
    code: 2,
    stdout: '',
    stderr: 'vhost-user-scsid: --num-queues: expected a whole number from 1 to 254, got "0"\n',
  })
})

t.test('faults that nobody caught', async (t) => {
  const start = `
    setImmediate(() => { throw new Error('a bug') })
    return { finished: never, ${STOPPED} }`
  t.match(await ended(runner(t, [], start)), { code: 1, stderr: /FATAL: internal fault[\s\S]*a bug/ })
  const rejection = `
    setImmediate(() => { Promise.reject(new Error('a bug')) })
    return { finished: never, ${STOPPED} }`
  t.match(await ended(runner(t, [], rejection)), { code: 1, stderr: /FATAL: internal fault[\s\S]*a bug/ })
  t.match(
    await ended(runner(t, [], "return { finished: Promise.resolve(), stop: async () => { throw new Error('no') } }")),
    {
      code: 1,
      stderr: /vhost-user-scsid: no\n$/,
    },
  )
})

t.test('a reader of stdout that goes away does no harm', async (t) => {
  const start = `
    process.stdout.write('first\\n')
    await new Promise((done) => process.once('SIGUSR2', done))
    for (let i = 0; i < 10; i++) process.stdout.write('x\\n')
    return { finished: new Promise((done) => setImmediate(() => setImmediate(done))), stop: async () => log.info('stopped') }`
  const child = runner(t, [], start)
  await child.output('stdout', /^first$/m, LIMIT_MS)
  child.process.stdout?.destroy()
  child.process.kill('SIGUSR2')
  const { code, stderr } = await ended(child)
  t.equal(code, 0)
  t.match(stderr, /INFO: stopped\n$/)
})

t.test('help and version', async (t) => {
  t.match(await ended(runner(t, ['--help'], 'throw 1')), { code: 0, stdout: /--socket-path/, stderr: '' })
  t.match(await ended(runner(t, ['--version'], 'throw 1')), { code: 0, stdout: /^\d+\.\d+\.\d+\n$/, stderr: '' })
})
