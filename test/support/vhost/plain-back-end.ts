import { drainEventfd, FdPoll, Mapping, signalEventfd } from 'memfd-mmap'
import {
  type BackendDevice,
  CHAIN,
  CMD_REQUEST,
  CMD_RESPONSE,
  DescriptorChain,
  EVENT,
  featureMask,
  GuestMemory,
  type MappedRegion,
  type MemoryRegion,
  type RingSetup,
  SESSION_PROTOCOL_FEATURES,
  SplitVirtqueue,
  VHOST_USER_PROTOCOL_F,
  VIRTIO_F,
  VQ,
} from 'vhost-user-protocol-ts'

interface Ring {
  readonly virtqueue: SplitVirtqueue
  readonly chain: DescriptorChain
  readonly kick: FdPoll
  callFd: number
}

/** What a session can do without the device having a part in it. */
export const PLAIN_PROTOCOL_FEATURES =
  SESSION_PROTOCOL_FEATURES & ~featureMask(VHOST_USER_PROTOCOL_F.LOG_SHMFD, VHOST_USER_PROTOCOL_F.INFLIGHT_SHMFD)

/**
 * A virtio-scsi device without SCSI, on the main thread: a command is answered with GOOD, its data-out bytes counted in
 * the residual and its data-in filled with the tag's low byte; CDB byte 0 FFh gets a check condition. Control requests
 * are answered with `controlResponse`, event buffers are held until `raise`.
 */
export class PlainBackEnd implements BackendDevice {
  readonly features = featureMask(VIRTIO_F.VERSION_1, VIRTIO_F.EVENT_IDX, VIRTIO_F.INDIRECT_DESC)
  readonly protocolFeatures: bigint
  readonly ringCount = 6
  readonly maxMemorySlots = 32
  controlResponse = 0
  /** Ring set-ups seen, and how often the call descriptor changed on an active ring. */
  readonly setups: RingSetup[] = []
  callChanges = 0
  resets = 0
  readonly #rings = new Map<number, Ring>()
  readonly #mappings = new Map<number, { region: MappedRegion; mapping: Mapping }>()
  #memory = new GuestMemory([])

  constructor(protocolFeatures: bigint = PLAIN_PROTOCOL_FEATURES) {
    this.protocolFeatures = protocolFeatures
  }

  setFeatures(): void {}

  async setMemory(regions: readonly MemoryRegion[], fds: readonly number[]): Promise<void> {
    this.#forget()
    for (const [i, region] of regions.entries()) this.#map(region, fds[i]!)
  }

  async addMemory(region: MemoryRegion, fd: number): Promise<void> {
    this.#map(region, fd)
  }

  async removeMemory(region: MemoryRegion): Promise<void> {
    this.#mappings.get(region.guestAddress)?.mapping.retire()
    this.#mappings.delete(region.guestAddress)
    this.#remap()
  }

  async startRing(setup: RingSetup): Promise<void> {
    this.setups.push(setup)
    const { size } = setup
    const memory = this.#memory
    const eventIdx = ((setup.features >> BigInt(VIRTIO_F.EVENT_IDX)) & 1n) === 1n
    const virtqueue = new SplitVirtqueue({
      size,
      desc: this.#view(setup.desc, 16 * size),
      avail: this.#view(setup.avail, 6 + 2 * size),
      used: this.#view(setup.used, 6 + 8 * size),
      base: setup.base,
      eventIdx,
    })
    const chain = new DescriptorChain(memory, virtqueue.desc, size, true)
    const kick = new FdPoll(setup.kickFd, { readable: true }, () => {
      drainEventfd(setup.kickFd)
      this.#serve(setup.index)
    })
    kick.unref()
    this.#rings.set(setup.index, { virtqueue, chain, kick, callFd: setup.callFd })
  }

  async stopRing(index: number): Promise<number> {
    const ring = this.#rings.get(index)!
    ring.kick.close()
    this.#rings.delete(index)
    return ring.virtqueue.nextAvailable
  }

  setCall(index: number, fd: number): void {
    this.callChanges++
    const ring = this.#rings.get(index)!
    ring.callFd = fd
    // What was completed before may have been announced to a descriptor that nobody listened to.
    if (fd >= 0) signalEventfd(fd)
  }

  setErr(): void {}

  async reset(): Promise<void> {
    this.resets++
  }

  readConfig(): undefined {
    return undefined
  }

  writeConfig(): boolean {
    return false
  }

  async disconnect(): Promise<void> {
    this.#forget()
  }

  /** Writes an event into the next event buffer; false when there is none. */
  raise(event: number, reason: number): boolean {
    const ring = this.#rings.get(VQ.EVENT)
    if (ring === undefined || ring.virtqueue.available() <= 0) return false
    const head = ring.virtqueue.fetch()
    ring.chain.start(head)
    if (ring.chain.next() !== CHAIN.DESCRIPTOR) throw new Error('no event buffer')
    const bytes = new DataView(new ArrayBuffer(EVENT.SIZE))
    bytes.setUint32(EVENT.EVENT, event, true)
    bytes.setUint32(EVENT.REASON, reason, true)
    this.#memory.write(ring.chain.address, new Uint8Array(bytes.buffer), 0, EVENT.SIZE)
    ring.virtqueue.push(head, EVENT.SIZE)
    this.#publish(ring)
    return true
  }

  /** Completes a head that was never made available. */
  lie(index: number, head: number): void {
    const ring = this.#rings.get(index)!
    ring.virtqueue.push(head, 0)
    this.#publish(ring)
  }

  #serve(index: number): void {
    const ring = this.#rings.get(index)
    if (ring === undefined || index === VQ.EVENT) return
    do {
      for (let n = ring.virtqueue.available(); n > 0; n--) this.#one(ring, index)
      this.#publish(ring)
    } while (ring.virtqueue.enableNotifications())
  }

  #one(ring: Ring, index: number): void {
    const { chain, virtqueue } = ring
    const head = virtqueue.fetch()
    const out: number[] = []
    const places: { address: number; length: number }[] = []
    chain.start(head)
    for (let step = chain.next(); step !== CHAIN.END; step = chain.next()) {
      if (step !== CHAIN.DESCRIPTOR) throw new Error(`chain ${step}`)
      if (chain.writable) {
        places.push({ address: chain.address, length: chain.length })
      } else {
        const bytes = new Uint8Array(chain.length)
        this.#memory.read(chain.address, bytes, 0, bytes.length)
        out.push(...bytes)
      }
    }
    const room = places.reduce((sum, place) => sum + place.length, 0)
    const answer = index === VQ.CONTROL ? this.#control(room) : this.#command(Uint8Array.from(out), room)
    let at = 0
    for (const place of places) {
      this.#memory.write(place.address, answer, at, place.length)
      at += place.length
    }
    virtqueue.push(head, room)
  }

  #control(room: number): Uint8Array {
    return new Uint8Array(room).fill(this.controlResponse)
  }

  #command(out: Uint8Array, room: number): Uint8Array {
    const answer = new Uint8Array(room).fill(out[CMD_REQUEST.TAG]!)
    answer.fill(0, 0, CMD_RESPONSE.SIZE)
    const view = new DataView(answer.buffer)
    view.setUint32(CMD_RESPONSE.RESIDUAL, out.length - CMD_REQUEST.SIZE, true)
    if (out[CMD_REQUEST.CDB] === 0xff) {
      view.setUint8(CMD_RESPONSE.STATUS, 2)
      view.setUint32(CMD_RESPONSE.SENSE_LEN, 18, true)
      answer.fill(0x70, CMD_RESPONSE.SENSE, CMD_RESPONSE.SENSE + 18)
    }
    return answer
  }

  #publish(ring: Ring): void {
    if (ring.virtqueue.publish() && ring.callFd >= 0) signalEventfd(ring.callFd)
  }

  #view(userAddress: number, length: number): ArrayBuffer {
    for (const { region, mapping } of this.#mappings.values()) {
      const at = userAddress - region.userAddress
      if (at >= 0 && at + length <= region.size) return mapping.view(at, length)
    }
    throw new Error('a ring outside the memory')
  }

  #map(region: MemoryRegion, fd: number): void {
    const { guestAddress, size, userAddress, mmapOffset } = region
    const mapping = Mapping.map({ fd, offset: mmapOffset, length: size })
    const mapped = { guestAddress, size, userAddress, hostAddress: mapping.address }
    this.#mappings.set(guestAddress, { region: mapped, mapping })
    this.#remap()
  }

  #remap(): void {
    this.#memory = new GuestMemory([...this.#mappings.values()].map(({ region }) => region))
  }

  #forget(): void {
    for (const { mapping } of this.#mappings.values()) mapping.retire()
    this.#mappings.clear()
    this.#remap()
  }
}
