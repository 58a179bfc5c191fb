/**
 * The log: lines on stderr, written before the call returns, so that the last line before an exit is not lost.
 */
import { type DestinationStream, destination, type Logger, pino } from 'pino'
import pretty from 'pino-pretty'
import type { LogFormat, LogLevel } from './daemon-config.js'

export type Log = Logger

const STDERR = 2

export interface LogOptions {
  readonly level: LogLevel
  readonly format: LogFormat
  /** Descriptor to write to; default stderr. */
  readonly fd?: number
  /** Default: whether the descriptor is a terminal. */
  readonly colour?: boolean
}

export function createLog(options: LogOptions): Log {
  const { level, format, fd = STDERR, colour = process.stderr.isTTY === true } = options
  const sink = destination({ dest: fd, sync: true })
  // Whoever reads the log may go away; that is no reason to stop serving disks.
  sink.on('error', ignore)
  const stream: DestinationStream =
    format === 'json' ? sink : pretty({ destination: sink, colorize: colour, ignore: 'pid,hostname', singleLine: true })
  return pino({ level, base: null, timestamp: pino.stdTimeFunctions.isoTime }, stream)
}

function ignore(): void {}
