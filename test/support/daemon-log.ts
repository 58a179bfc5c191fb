import { createInterface } from 'node:readline'
import type { Readable } from 'node:stream'
import type { Daemon } from './daemon.js'

/** A line of a log in JSON. */
export interface LogLine {
  /** From 40 on there is something wrong (pino: warn, error, fatal). */
  level: number
  /** Of what a session has to tell, see SESSION_EVENTS. */
  code?: string
  msg: string
  [field: string]: unknown
}

export const WARN = 40

/** The lines that a daemon with --log-format=json writes from now on; the array grows. */
export const followLog = (daemon: Daemon): LogLine[] => {
  const lines: LogLine[] = []
  createInterface({ input: daemon.child.process.stderr as Readable }).on('line', (line) => lines.push(JSON.parse(line)))
  return lines
}
