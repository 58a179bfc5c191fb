// Keeps an IOThread busy with random reads and writes, and prints on stderr, as JSON, when the measured part of it began
// and ended. To be run with GC_TRACE_ARG: V8 has stdout for itself. Arguments: null, memory, file, tmpfs or zero (a device
// of any size); io_uring or epoll; requests; bytes of the medium; requests in flight on each of two queues;
// low or high: where the guest's memory is mapped; log, if what is written to it is to be logged; and noted, if what is in
// flight is to be noted.
import { constants } from 'node:fs'
import { clockMonotonicNs, Mapping, openFd, signalEventfd } from 'memfd-mmap'
import type { IoThreadOptions } from '../../../iothreads/index.js'
import type { Medium } from '../../../iothreads/messages.js'
import { Histogram } from '../../bench/histogram.js'
import { Load } from '../../bench/load.js'
import { IoRig, startThread } from './io-rig.js'
import { type MediumName, testMedium, unitSpec } from './units.js'

const DEPTH = Number(process.argv[6])
const WARM_UP = 120_000
/** Much more than the isolates' clocks differ by (see GcTrace). */
const LEAST_MS = 900

const name = process.argv[2] as MediumName | 'null' | 'zero'
const engine = process.argv[3] as IoThreadOptions['engine'] & string
const wanted = Number(process.argv[4])
const size = Number(process.argv[5])
const low = process.argv[7] === 'low'
const logs = process.argv[8] === 'log'
const notes = process.argv[9] === 'noted'

const teardowns: (() => unknown)[] = []
const t = { teardown: (handler: () => unknown) => teardowns.push(handler) }
// It polls all the time: a sleep makes a few heap numbers, and how often a thread sleeps is up to the machine.
const started = await startThread(t, { engine, pollMaxNs: 1e9 })
const medium = open()
// One queue for each kind of request, so that all are on the same thread.
const units = [unitSpec(medium, { size })]
const rig = await IoRig.start(t, {
  units,
  threads: [started, started],
  ringSize: 128,
  indirectEntries: 4,
  low,
  inflight: notes,
})
const log = Mapping.anonymous(64 * 1024)
if (logs) {
  // A bit for each page of all of the guest's memory.
  const { address, length } = log
  for (let i = 0; i < rig.queues.length; i++) {
    const used = rig.queues[i]!.driver.usedAddress
    await rig.startQueue(i, await rig.stopQueue(i), { log: { area: { address, length }, used } })
  }
}
const loads = rig.queues.map((queue, i) => {
  const o = { depth: DEPTH, span: size, style: i === 0 ? 'direct' : 'indirect', target: 0, lun: 0, seed: i } as const
  const options = { ...o, op: i === 0 ? 'randread' : 'randwrite', blockSize: i === 0 ? 4096 : 512 } as const
  return new Load(queue.detach(), rig.memory, options, new Histogram(), clockMonotonicNs)
})

function open(): Medium {
  if (name === 'null') return { kind: 'null', delayNs: 0 }
  if (name === 'zero') return { kind: 'file', fd: openFd('/dev/zero', constants.O_RDWR), inline: false }
  return testMedium(t, name, size).medium
}

/** Looks at the clock after so many passes over the queues: it makes heap numbers. */
const PASSES = 10_000

/** Moves so many requests at least, for so long at least. */
function drive(count: number, milliseconds: number): number {
  let done = 0
  for (const end = Date.now() + milliseconds; done < count || Date.now() < end; ) done += pass(PASSES)
  return done
}

function pass(passes: number): number {
  let done = 0
  for (let n = 0; n < passes; n++) {
    for (let i = 0; i < loads.length; i++) {
      const load = loads[i]!
      const turned = load.turn()
      done += turned
      if (turned > 0 && load.wantsKick) signalEventfd(rig.queues[i]!.kickFd)
    }
  }
  return done
}

loads.forEach((load, i) => {
  if (load.start()) signalEventfd(rig.queues[i]!.kickFd)
})
drive(WARM_UP, 0)
const from = Date.now()
const requests = drive(wanted, LEAST_MS)
const to = Date.now()
while (loads.some((load) => load.drain() > 0));
const failed = loads.map((load) => load.firstFailure).join('')
if (failed !== '') throw new Error(failed)
if (new Uint8Array(log.view()).some((byte) => byte !== 0) !== logs)
  throw new Error('what is logged is not as it should be')
process.stderr.write(`${JSON.stringify({ from, to, requests })}\n`)
for (const teardown of teardowns.reverse()) await teardown()
