import { once } from 'node:events'
import { Worker } from 'node:worker_threads'
import { clockMonotonicNs, createMemfd, Mapping, raw, setAffinity } from 'memfd-mmap'
import { type ChainStyle, DriverMemory, SplitDriver, splitRingLayout } from 'vhost-user-protocol-ts'
import type { BareWorkerData } from './bare-worker.js'
import { Histogram } from './histogram.js'
import { Load } from './load.js'
import { drainLoads, type Run, run, startLoads } from './measure.js'

const GUEST_ADDRESS = 0x10_0000
const MEMORY = 16 * 2 ** 20

export interface BareLoopOptions {
  readonly depth: number
  readonly ringSize: number
  readonly style: ChainStyle
  readonly warmUp: number
  readonly seconds: number
  readonly runs: number
  readonly driverCpu: number | undefined
  readonly deviceCpu: number | undefined
}

/**
 * The driver against the plainest possible device, in a thread of its own, over a memfd: the ceiling for a null LUN.
 */
export async function bareLoop(o: BareLoopOptions): Promise<{ runs: Run[]; latencies: Histogram }> {
  const fd = createMemfd('bare-loop', MEMORY)
  const mapping = Mapping.map({ fd, length: MEMORY })
  raw.close(fd)
  const buffer = mapping.view()
  const memory = new DriverMemory([
    { guestAddress: GUEST_ADDRESS, size: MEMORY, userAddress: mapping.address, mmapOffset: 0, buffer },
  ])
  const area = memory.allocate(splitRingLayout(o.ringSize, 4).bytes, 4096)
  const driver = new SplitDriver({
    size: o.ringSize,
    buffer,
    byteOffset: area.byteOffset,
    guestAddress: area.address,
    indirectEntries: 4,
  })
  const latencies = new Histogram()
  const load = new Load(
    driver,
    memory,
    {
      op: 'randread',
      blockSize: 4096,
      depth: o.depth,
      span: 2 ** 28,
      style: o.style,
      target: 0,
      lun: 0,
      seed: 1,
    },
    latencies,
    clockMonotonicNs,
  )
  const stop = new SharedArrayBuffer(4)
  const { size, descAddress, availAddress, usedAddress } = driver
  const workerData: BareWorkerData = {
    address: mapping.address,
    length: MEMORY,
    guestAddress: GUEST_ADDRESS,
    ring: { size, descAddress, availAddress, usedAddress },
    cpu: o.deviceCpu,
    stop,
  }
  const worker = new Worker(new URL('./bare-worker.js', import.meta.url), { workerData })
  const exit = once(worker, 'exit')
  await once(worker, 'message')
  if (o.driverCpu !== undefined) setAffinity(0, [o.driverCpu])
  const runs: Run[] = []
  try {
    startLoads([load], [-1])
    run([load], [-1], o.warmUp)
    for (let i = 0; i < o.runs; i++) runs.push(run([load], [-1], o.seconds))
    drainLoads([load])
  } finally {
    Atomics.store(new Int32Array(stop), 0, 1)
    await exit
  }
  return { runs, latencies }
}
