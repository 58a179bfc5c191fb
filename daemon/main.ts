#!/usr/bin/env node
/**
 * The program. `--print-capabilities` wins over every other option, right or wrong (vhost-user.rst "Backend program
 * conventions"), so it is answered before anything else is even loaded.
 */
if (process.argv.includes('--print-capabilities')) {
  process.stdout.write('{"type":"scsi"}\n')
} else {
  try {
    const { run } = await import('./run.js')
    // What serves is loaded once it is known that there is something to serve.
    await run(process.argv.slice(2), process.env, async (config, log) => {
      const { startDaemon } = await import('./daemon.js')
      return startDaemon(config, log)
    })
  } catch (error) {
    // What cannot even be loaded: a dependency is missing, or has no binary for this machine.
    process.stderr.write(`vhost-user-scsid: ${error instanceof Error ? error.message.split('\n', 1)[0] : error}\n`)
    process.exitCode = 1
  }
}

export {}
