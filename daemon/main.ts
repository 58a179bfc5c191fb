#!/usr/bin/env node
/**
 * The program. `--print-capabilities` wins over every other option, right or wrong (vhost-user.rst "Backend program
 * conventions"), so it is answered before anything else is even loaded.
 */
import { setFlagsFromString } from 'node:v8'

if (process.argv.includes('--print-capabilities')) {
  process.stdout.write('{"type":"scsi"}\n')
} else {
  try {
    await (process.argv[2] === 'ctl' ? ctl() : serve())
  } catch (error) {
    // What cannot even be loaded: a dependency is missing, or has no binary for this machine.
    process.stderr.write(`vhost-user-scsid: ${error instanceof Error ? error.message.split('\n', 1)[0] : error}\n`)
    process.exitCode = 1
  }
}

async function serve(): Promise<void> {
  // The way of a request is many small functions, of which V8's own limits would inline only some. Said before anything of it is
  // compiled, as V8 wants it.
  setFlagsFromString('--max-inlined-bytecode-size=1000')
  setFlagsFromString('--max-inlined-bytecode-size-cumulative=4000')
  const { run } = await import('./run.js')
  // What serves is loaded once it is known that there is something to serve.
  await run(process.argv.slice(2), process.env, async (config, log) => {
    const { startDaemon } = await import('./daemon.js')
    return startDaemon(config, log)
  })
}

async function ctl(): Promise<void> {
  const { runCtl } = await import('./ctl/run-ctl.js')
  const { status, stdout, stderr } = await runCtl(process.argv.slice(3), process.env)
  // A reader that has seen enough and leaves is no fault.
  process.stdout.on('error', () => {})
  process.stdout.write(stdout)
  process.stderr.write(stderr)
  process.exitCode = status
}
