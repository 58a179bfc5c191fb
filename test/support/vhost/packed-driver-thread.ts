/** A thread that drives a packed ring, and sleeps whenever it has nothing to reap: for tests of lost notifications. */

import { parentPort, workerData } from 'node:worker_threads'
import { viewMemory } from 'memfd-mmap'
import { PackedDriver } from 'vhost-user-protocol-ts'
import { BELL, type PackedThreadData } from './packed-bells.js'

const { size, eventIdx, address, bytes, chains, bells } = workerData as PackedThreadData
const driver = new PackedDriver({
  size,
  eventIdx,
  buffer: viewMemory(address, bytes),
  byteOffset: 0,
  guestAddress: 0,
})
const ids = new Int32Array(size)
const prepared: number[] = []
while (driver.freeDescriptors > 0) {
  const count = Math.min(1 + (prepared.length % 3), driver.freeDescriptors)
  prepared.push(driver.prepare(Array.from({ length: count }, (_, i) => ({ address: i, length: 1, writable: false }))))
}
let submitted = 0
let reaped = 0
parentPort!.postMessage('the ring is laid out')
while (reaped < chains) {
  while (prepared.length > 0 && submitted < chains) {
    driver.submit(prepared.pop()!)
    submitted++
    // Some one by one, some in batches.
    if (submitted % 5 > 2) break
  }
  if (driver.publish()) {
    Atomics.add(bells, BELL.KICKS, 1)
    Atomics.notify(bells, BELL.KICKS)
  }
  const interrupts = Atomics.load(bells, BELL.INTERRUPTS)
  const count = driver.reap(ids)
  for (let i = 0; i < count; i++) prepared.push(ids[i]!)
  reaped += count
  if (count > 0 || (prepared.length > 0 && submitted < chains)) continue
  if (driver.enableInterrupts()) continue
  Atomics.add(bells, BELL.DRIVER_SLEEPS, 1)
  Atomics.wait(bells, BELL.INTERRUPTS, interrupts)
}
