import { DescriptorChain } from './descriptor-chain.js'
import type { GuestMemory } from './guest-memory.js'
import { PackedChain } from './packed-chain.js'
import type { Chain, DescriptorRing } from './virtqueue.js'

/** A walk over chains of a ring of either kind. @param indirectAllowed VIRTIO_F_INDIRECT_DESC was negotiated */
export function createChain(memory: GuestMemory, ring: DescriptorRing, indirectAllowed: boolean): Chain {
  const Walk = ring.packed ? PackedChain : DescriptorChain
  return new Walk(memory, ring.desc, ring.size, indirectAllowed)
}
