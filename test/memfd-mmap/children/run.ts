import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'

export interface Ended {
  code: number | null
  signal: NodeJS.Signals | null
  stdout: string
}

/**
 * Runs a program of this folder in its own process, without core dumps, until it ends or 50 s are over. It inherits `fds` as 3, 4, ...
 */
export async function run(
  program: string,
  args: readonly (string | number)[] = [],
  fds: readonly number[] = [],
  nodeOptions: readonly string[] = [],
): Promise<Ended> {
  const file = join(import.meta.dirname, `${program}.js`)
  const command = ['-c', 'ulimit -c 0; exec "$0" "$@"', process.execPath, ...nodeOptions, file, ...args.map(String)]
  const child = spawn('/bin/sh', command, { stdio: ['ignore', 'pipe', 'inherit', ...fds], timeout: 50_000 })
  let stdout = ''
  child.stdout!.setEncoding('utf8').on('data', (text: string) => {
    stdout += text
  })
  const [code, signal] = await once(child, 'close')
  return { code, signal, stdout }
}
