import { parentPort, workerData } from 'node:worker_threads'
import { setAffinity, viewMemory } from 'memfd-mmap'
import { BareDevice } from './bare-device.js'

/** Serves one ring in memory that is mapped in this process, until word 0 of `stop` is set. */
export interface BareWorkerData {
  readonly address: number
  readonly length: number
  readonly guestAddress: number
  readonly ring: { size: number; descAddress: number; availAddress: number; usedAddress: number }
  readonly cpu: number | undefined
  readonly stop: SharedArrayBuffer
}

const data = workerData as BareWorkerData
if (data.cpu !== undefined) setAffinity(0, [data.cpu])
const device = new BareDevice(viewMemory(data.address, data.length), data.guestAddress, data.ring)
const stop = new Int32Array(data.stop)
parentPort!.postMessage('ready')
while (Atomics.load(stop, 0) === 0) for (let i = 0; i < 1000; i++) device.turn()
