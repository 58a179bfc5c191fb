import { viewMemory } from 'memfd-mmap'
import { InflightRegion, PACKED_REGION, PACKED_STATE, SPLIT_REGION, SPLIT_STATE } from 'vhost-user-protocol-ts'
import type { Initiator } from '../vhost/initiator.js'

/** How many requests of all rings an initiator's inflight buffer has noted. Throws when a ring has no region in it. */
export function noted(initiator: Initiator): number {
  let count = 0
  eachRegion(initiator, ({ packed, entries, view }) => {
    const [first, stride, flag] = packed
      ? [PACKED_REGION.DESC, PACKED_STATE.SIZE, PACKED_STATE.INFLIGHT]
      : [SPLIT_REGION.DESC, SPLIT_STATE.SIZE, SPLIT_STATE.INFLIGHT]
    for (let i = 0; i < entries; i++) count += view.getUint8(first + stride * i + flag)
  })
  return count
}

/** What split rings' regions say the used index is beside what it is: they agree while nothing is being completed. */
export function usedIndexes(initiator: Initiator): { said: number; is: number }[] {
  const found: { said: number; is: number }[] = []
  eachRegion(initiator, ({ packed, view, usedIndex }) => {
    if (!packed) found.push({ said: view.getUint16(SPLIT_REGION.USED_IDX, true), is: usedIndex })
  })
  return found
}

interface RingRegion {
  readonly packed: boolean
  readonly entries: number
  readonly view: DataView
  readonly usedIndex: number
}

function eachRegion(initiator: Initiator, visit: (region: RingRegion) => void): void {
  const { fd, size, offset, queues, queueSize } = initiator.inflight!
  const region = new InflightRegion(fd, { mmapSize: size, mmapOffset: offset, numQueues: queues, queueSize }, queues)
  try {
    for (const { index, driver } of initiator.queues) {
      const { address, length } = region.queue(driver.packed ? 'packed' : 'split', index, driver.size)!
      const view = new DataView(viewMemory(address, length))
      if (view.getUint16(SPLIT_REGION.VERSION, true) !== 1) throw new Error(`ring ${index} has no region`)
      visit({
        packed: driver.packed,
        entries: queueSize,
        view,
        usedIndex: driver.packed ? 0 : driver.deviceUsedIndex,
      })
    }
  } finally {
    region.unmap()
  }
}
