/**
 * A run of the serving process from its arguments to its end: with main.ts the only place that prints, and that exits.
 */
import { writeSync } from 'node:fs'
import { parseCommandLine } from './cli.js'
import type { DaemonConfig } from './daemon-config.js'
import { oneLine, StartError } from './errors.js'
import { createLog, type Log } from './log.js'
import { readyLine } from './ready-line.js'

/** Exit statuses. */
export const EXIT = { OK: 0, FAULT: 1, USAGE: 2 } as const

const STDERR = 2
const PROGRAM = 'vhost-user-scsid'

/** A daemon whose sockets can be connected to. */
export interface RunningDaemon {
  /**
   * Resolves when no front end can come any more (every controller had a connected descriptor, and its connection has
   * ended); rejects with a fault that leaves nothing to serve. Else it stays pending.
   */
  readonly finished: Promise<void>
  /** Ends everything in order, within the configuration's stop timeout. */
  stop(): Promise<void>
}

/** Rejects with StartError where the configuration cannot be had. */
export type StartDaemon = (config: DaemonConfig, log: Log) => Promise<RunningDaemon>

/**
 * Does what the arguments ask for and ends the process: 0 after SIGTERM or SIGINT and after printing, 1 for a fault at
 * run time, 2 for bad usage or configuration.
 */
export async function run(args: readonly string[], environment: NodeJS.ProcessEnv, start: StartDaemon): Promise<void> {
  // A reader of stdout that goes away is no reason to stop serving disks.
  process.stdout.on('error', ignore)
  try {
    const command = parseCommandLine(args, environment)
    if (command.kind === 'print') {
      process.stdout.write(command.text, () => process.exit(EXIT.OK))
      return
    }
    await serve(command.config, start)
  } catch (error) {
    fail(error)
  }
}

/** Ends the process for a fault at start: one line on stderr, no stack. */
export function fail(error: unknown): never {
  const message = error instanceof Error ? error.message : String(error)
  try {
    writeSync(STDERR, `${PROGRAM}: ${oneLine(message)}\n`)
  } catch {
    // Nobody reads stderr; the status still tells.
  }
  process.exit(error instanceof StartError ? EXIT.USAGE : EXIT.FAULT)
}

async function serve(config: DaemonConfig, start: StartDaemon): Promise<void> {
  const log = createLog({ level: config.logLevel, format: config.logFormat })
  const signal = awaitSignal(log)
  process.on('uncaughtException', (error) => {
    log.fatal({ err: error }, 'internal fault')
    process.exit(EXIT.FAULT)
  })
  const daemon = await start(config, log)
  for (const controller of config.controllers) process.stdout.write(`${oneLine(readyLine(controller))}\n`)
  const status = await Promise.race([signal, daemon.finished]).then(
    () => EXIT.OK,
    (error: unknown) => {
      log.fatal({ err: error }, 'stopping because of a fault')
      return EXIT.FAULT
    },
  )
  await daemon.stop()
  process.exit(status)
}

/** Resolves at the first SIGTERM or SIGINT; a second one ends the process at once. */
function awaitSignal(log: Log): Promise<void> {
  return new Promise((resolve) => {
    let received = false
    for (const name of ['SIGTERM', 'SIGINT'] as const) {
      process.on(name, () => {
        if (received) {
          log.warn(`${name} again: leaving at once`)
          process.exit(EXIT.FAULT)
        }
        received = true
        log.info(`${name}: stopping`)
        resolve()
      })
    }
  })
}

function ignore(): void {}
