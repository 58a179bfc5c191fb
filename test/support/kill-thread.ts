// The thread of Killer: waits, and kills.
import { parentPort } from 'node:worker_threads'

const word = new Int32Array(new SharedArrayBuffer(4))

parentPort!.on('message', ({ pid, milliseconds }: { pid: number; milliseconds: number }) => {
  Atomics.wait(word, 0, 0, milliseconds)
  process.kill(pid, 'SIGKILL')
  parentPort!.postMessage('killed')
})
