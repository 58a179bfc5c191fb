import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Child } from './child.js'
import { Daemon } from './daemon.js'
import type { Teardown } from './teardown.js'
import { tempDir } from './temp-dir.js'

const MAIN = fileURLToPath(new URL('../../daemon/main.js', import.meta.url))
const START = 30_000

type Settings = Readonly<Record<string, unknown>>

/**
 * Starts one daemon with a configuration file: the answer has a Daemon for each of its controllers, all of the same process. Their
 * sockets are added, so are the metrics, and logs are JSON.
 *
 * @param nodeOptions for node itself
 */
export async function startConfigured(
  t: Teardown,
  config: Settings & { readonly controllers: readonly Settings[] },
  nodeOptions: readonly string[] = [],
): Promise<Daemon[]> {
  const directory = tempDir(t)
  const metrics = join(directory, 'metrics.sock')
  const sockets = config.controllers.map((_, i) => join(directory, `scsi${i}.sock`))
  const controllers = config.controllers.map((controller, i) => ({ ...controller, 'socket-path': sockets[i] }))
  const path = join(directory, 'config.json')
  writeFileSync(path, JSON.stringify({ log: { format: 'json' }, ...config, controllers }))
  const args = [...nodeOptions, MAIN, `--config=${path}`, `--metrics-listen=unix:${metrics}`]
  const child = new Child(t, 'vhost-user-scsid', process.execPath, args)
  await child.output('stdout', new RegExp(`^.*${sockets.at(-1)}.*$`, 'm'), START)
  return sockets.map((socket) => new Daemon(child, socket, metrics))
}
