/** Loaded into a daemon by `node --import`: its mappings are guarded, and SIGUSR2 has it measure its heap. */
import { isMainThread } from 'node:worker_threads'
import { installGuards } from './guards.js'

if (isMainThread) {
  installGuards()
  process.on('SIGUSR2', () => {
    for (let i = 0; i < 3; i++) globalThis.gc?.()
    process.stdout.write(`heap of ${process.memoryUsage().heapUsed}\n`)
  })
}
