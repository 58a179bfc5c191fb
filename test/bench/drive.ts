import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import type { DriverJob, DriverReport } from './driver-process.js'

const DRIVER = fileURLToPath(new URL('./driver-process.js', import.meta.url))
const exec = promisify(execFile)

/** Runs the front end in a process of its own. */
export async function drive(job: DriverJob): Promise<DriverReport> {
  const { stdout } = await exec(process.execPath, [DRIVER, JSON.stringify(job)], { maxBuffer: 2 ** 24 })
  return JSON.parse(stdout) as DriverReport
}

/** Runs `body` with a place to leave its tidying up. */
export async function tidily<T>(body: (t: { teardown(handler: () => unknown): void }) => Promise<T>): Promise<T> {
  const handlers: (() => unknown)[] = []
  try {
    return await body({ teardown: (handler) => handlers.push(handler) })
  } finally {
    for (const handler of handlers.reverse()) await handler()
  }
}
