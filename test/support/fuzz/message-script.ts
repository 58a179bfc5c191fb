import {
  encodeHeader,
  encodeInflight,
  encodeLog,
  encodeMemoryTable,
  encodeSingleRegion,
  encodeVringAddress,
  encodeVringFd,
  encodeVringState,
  FRONT_END_REQUEST,
  featureMask,
  HEADER,
  HEADER_FLAG,
  INFLIGHT_DESCRIPTION,
  LOG_DESCRIPTION,
  type MemoryRegion,
  maskPayload,
  memoryTableBytes,
  SINGLE_REGION,
  VHOST_F,
  VHOST_USER_F,
  VHOST_USER_PROTOCOL_F,
  VIRTIO_F,
  VIRTIO_SCSI_F,
  VRING_ADDRESS,
  VRING_ADDRESS_F,
  VRING_FD,
  VRING_STATE,
} from 'vhost-user-protocol-ts'
import type { Random } from '../random.js'
import { type DescriptorPool, INFLIGHT_BYTES, LOG_BYTES } from './descriptor-pool.js'
import { MAX_RINGS, PLACE, userAddress } from './fuzz-memory.js'
import type { RingPlan } from './ring-batch.js'

const R = FRONT_END_REQUEST
const KIB = 2 ** 10
const NOTHING = new Uint8Array(0)

/** A message to be sent: perhaps with another size in its header than it has. */
export interface Frame {
  request: number
  flags: number
  payload: Uint8Array
  /** In the header. */
  size: number
  fds: readonly number[]
  /** Sent in two parts, the first of so many bytes. 0: in one. */
  cut: number
  /** Something was done to it. */
  spoilt: boolean
}

/** Those with memory, which is no longer that of the guest if something is done to them. */
const OF_MEMORY: readonly number[] = [R.SET_MEM_TABLE, R.ADD_MEM_REG, R.SET_LOG_BASE, R.SET_INFLIGHT_FD]

/** What scripts are made of: memory, and eventfds for each ring. */
export interface Material {
  readonly regions: readonly (MemoryRegion & { readonly fd: number })[]
  readonly kicks: readonly number[]
  readonly calls: readonly number[]
  readonly errs: readonly number[]
  readonly pool: DescriptorPool
}

/** How wrong the messages of one connection are: one in so many. 0: none. */
const RATES = [0, 100, 40, 16, 6, 2]

/** Numbers that checks may overlook. */
const NUMBERS = [
  0n,
  1n,
  2n,
  7n,
  8n,
  0xffn,
  0x100n,
  0xfffn,
  0x1000n,
  0xffffn,
  0x10000n,
  2n ** 31n - 1n,
  2n ** 31n,
  2n ** 32n - 1n,
  2n ** 32n,
  2n ** 40n,
  2n ** 47n,
  2n ** 52n,
  2n ** 53n - 1n,
  2n ** 53n,
  2n ** 63n,
  2n ** 64n - 4096n,
  2n ** 64n - 1n,
]

/** The messages of one connection: what QEMU sends, and then some things done to it. All of it follows from the random numbers. */
export class MessageScript {
  readonly packed: boolean
  readonly indirect: boolean
  readonly #random: Random
  readonly #material: Material
  readonly #frames: Frame[] = []
  readonly #protocolFeatures: bigint
  readonly #features: bigint
  readonly #asksForAck: boolean

  constructor(random: Random, material: Material) {
    this.#random = random
    this.#material = material
    this.packed = random.once(2)
    this.indirect = !random.once(4)
    const features: number[] = [VIRTIO_F.VERSION_1, VIRTIO_SCSI_F.HOTPLUG]
    if (!random.once(16)) features.push(VHOST_USER_F.PROTOCOL_FEATURES)
    if (this.packed) features.push(VIRTIO_F.RING_PACKED)
    if (this.indirect) features.push(VIRTIO_F.INDIRECT_DESC)
    if (random.once(2)) features.push(VIRTIO_F.EVENT_IDX)
    if (random.once(4)) features.push(VHOST_F.LOG_ALL)
    this.#features = featureMask(...features)
    const wanted: number[] = [
      VHOST_USER_PROTOCOL_F.MQ,
      VHOST_USER_PROTOCOL_F.LOG_SHMFD,
      VHOST_USER_PROTOCOL_F.BACKEND_REQ,
      VHOST_USER_PROTOCOL_F.INFLIGHT_SHMFD,
      VHOST_USER_PROTOCOL_F.RESET_DEVICE,
      VHOST_USER_PROTOCOL_F.CONFIGURE_MEM_SLOTS,
      VHOST_USER_PROTOCOL_F.CONFIG,
    ].filter(() => !random.once(12))
    this.#asksForAck = !random.once(3)
    if (this.#asksForAck) wanted.push(VHOST_USER_PROTOCOL_F.REPLY_ACK)
    this.#protocolFeatures = featureMask(...wanted)
  }

  /** All of it, for rings that are prepared in memory. */
  frames(rings: readonly RingPlan[]): Frame[] {
    const random = this.#random
    this.#negotiate()
    this.#introduce(rings)
    for (let i = random.below(random.once(3) ? 30 : 8); i > 0; i--) this.#something(rings)
    for (const { index } of rings) if (!random.once(3)) this.#state(R.GET_VRING_BASE, index, 0)
    if (random.once(4)) this.#simple(R.RESET_OWNER)
    this.#spoil(random.pick(RATES))
    return this.#frames
  }

  #add(request: number, payload: Uint8Array = NOTHING, fds: readonly number[] = []): void {
    const needReply = this.#asksForAck && !this.#random.once(8) ? HEADER_FLAG.NEED_REPLY : 0
    const flags = HEADER_FLAG.VERSION | needReply
    this.#frames.push({ request, flags, payload, size: payload.length, fds, cut: 0, spoilt: false })
  }

  #simple(request: number): void {
    this.#add(request)
  }

  #state(request: number, index: number, num: number): void {
    const payload = new Uint8Array(VRING_STATE.SIZE)
    encodeVringState(new DataView(payload.buffer), 0, { index, num })
    this.#add(request, payload)
  }

  #fd(request: number, index: number, fd: number | undefined): void {
    const payload = new Uint8Array(VRING_FD.SIZE)
    encodeVringFd(new DataView(payload.buffer), 0, { index, hasFd: fd !== undefined })
    this.#add(request, payload, fd === undefined ? [] : [fd])
  }

  #negotiate(): void {
    const random = this.#random
    this.#simple(R.GET_FEATURES)
    this.#simple(R.GET_PROTOCOL_FEATURES)
    this.#add(R.SET_PROTOCOL_FEATURES, maskPayload(this.#protocolFeatures))
    this.#simple(R.GET_QUEUE_NUM)
    this.#simple(R.GET_MAX_MEM_SLOTS)
    if (random.once(2)) this.#channel()
    this.#simple(R.SET_OWNER)
    this.#simple(R.GET_FEATURES)
    if (random.once(2)) this.#simple(R.RESET_DEVICE)
    this.#add(R.SET_FEATURES, maskPayload(this.#features))
    if (random.once(2)) this.#inflight(R.GET_INFLIGHT_FD)
    if (random.once(2)) this.#inflight(R.SET_INFLIGHT_FD)
    if (random.once(3)) this.#log()
    if (random.once(2)) this.#table()
    else for (const region of this.#material.regions) this.#region(R.ADD_MEM_REG, region)
  }

  #introduce(rings: readonly RingPlan[]): void {
    for (const ring of rings) this.#ring(ring)
    for (const { index } of rings) this.#state(R.SET_VRING_ENABLE, index, 1)
  }

  #ring(ring: RingPlan): void {
    const { index, size, base } = ring
    const { kicks, calls, errs } = this.#material
    this.#state(R.SET_VRING_NUM, index, size)
    this.#state(R.SET_VRING_BASE, index, base)
    this.#address(ring)
    // One eventfd for all is as good as any.
    if (!this.#random.once(3)) this.#fd(R.SET_VRING_ERR, index, this.#random.once(40) ? kicks[index] : errs[index])
    this.#fd(R.SET_VRING_KICK, index, this.#random.once(12) ? undefined : kicks[index])
    if (!this.#random.once(3)) this.#fd(R.SET_VRING_CALL, index, this.#random.once(40) ? kicks[index] : calls[index])
  }

  #address({ index }: RingPlan): void {
    const ring = userAddress(PLACE.RINGS + 4 * KIB * index)
    const payload = new Uint8Array(VRING_ADDRESS.SIZE)
    encodeVringAddress(new DataView(payload.buffer), 0, {
      index,
      flags: this.#random.once(4) ? VRING_ADDRESS_F.LOG : 0,
      desc: userAddress(PLACE.DESCRIPTORS + 4 * KIB * index),
      avail: ring,
      used: ring + PLACE.USED,
      log: PLACE.RINGS,
    })
    this.#add(R.SET_VRING_ADDR, payload)
  }

  /** All regions, or some of them. */
  #table(): void {
    const regions = this.#material.regions.filter(() => !this.#random.once(12))
    const payload = new Uint8Array(memoryTableBytes(regions.length))
    encodeMemoryTable(new DataView(payload.buffer), 0, regions)
    const fds = regions.map(({ fd }) => fd)
    this.#add(R.SET_MEM_TABLE, payload, fds)
  }

  #region(request: number, region: MemoryRegion & { readonly fd: number }): void {
    const payload = new Uint8Array(SINGLE_REGION.SIZE)
    encodeSingleRegion(new DataView(payload.buffer), 0, region)
    this.#add(request, payload, request === R.ADD_MEM_REG ? [region.fd] : [])
  }

  #inflight(request: number): void {
    const random = this.#random
    const payload = new Uint8Array(random.once(2) ? INFLIGHT_DESCRIPTION.SIZE : INFLIGHT_DESCRIPTION.FIELDS)
    const whole = new Uint8Array(INFLIGHT_DESCRIPTION.SIZE)
    const set = request === R.SET_INFLIGHT_FD
    encodeInflight(new DataView(whole.buffer), 0, {
      mmapSize: set ? INFLIGHT_BYTES : 0,
      mmapOffset: 0,
      numQueues: random.once(4) ? 1 + random.below(MAX_RINGS) : MAX_RINGS,
      queueSize: random.once(4) ? 1 + random.below(256) : 256,
    })
    payload.set(whole.subarray(0, payload.length))
    this.#add(request, payload, set ? [this.#material.pool.inflight] : [])
  }

  #log(): void {
    const payload = new Uint8Array(LOG_DESCRIPTION.SIZE)
    const mmapSize = this.#random.once(3) ? 4 * this.#random.below(64) : LOG_BYTES
    encodeLog(new DataView(payload.buffer), 0, { mmapSize, mmapOffset: 0 })
    this.#add(R.SET_LOG_BASE, payload, [this.#material.pool.log])
  }

  #channel(): void {
    this.#add(R.SET_BACKEND_REQ_FD, NOTHING, [this.#material.pool.channel[0]])
  }

  #config(request: number): void {
    const random = this.#random
    const payload = new Uint8Array(12 + (random.once(4) ? random.below(257) : 36))
    const view = new DataView(payload.buffer)
    view.setUint32(0, random.once(2) ? 0 : random.below(300), true)
    view.setUint32(4, random.once(4) ? random.below(300) : payload.length - 12, true)
    this.#add(request, payload)
  }

  /** What a front end may do while its rings run, now or later. */
  #something(rings: readonly RingPlan[]): void {
    const random = this.#random
    const { regions, kicks, calls } = this.#material
    const ring = rings.length === 0 ? undefined : random.pick(rings)
    switch (random.below(ring === undefined ? 10 : 18)) {
      case 0:
        this.#table()
        break
      case 1:
        this.#region(R.ADD_MEM_REG, random.pick(regions))
        break
      case 2:
        this.#region(R.REM_MEM_REG, random.pick(regions))
        break
      case 3:
        this.#log()
        break
      case 4:
        this.#add(R.SET_FEATURES, maskPayload(this.#features ^ featureMask(VHOST_F.LOG_ALL)))
        break
      case 5:
        this.#config(random.once(2) ? R.GET_CONFIG : R.SET_CONFIG)
        break
      case 6:
        this.#inflight(random.once(2) ? R.GET_INFLIGHT_FD : R.SET_INFLIGHT_FD)
        break
      case 7:
        this.#channel()
        break
      case 8:
        this.#simple(random.once(3) ? R.RESET_DEVICE : R.GET_FEATURES)
        break
      case 9:
        // Any request at all, with a payload of a likely size.
        this.#add(
          random.once(8) ? random.next() : random.below(71),
          this.#bytes(random.pick([0, 8, 8, 16, 20, 24, 40])),
        )
        break
      case 10:
        this.#state(R.GET_VRING_BASE, ring!.index, 0)
        this.#ring(ring!)
        break
      case 11:
        this.#state(R.SET_VRING_ENABLE, ring!.index, 0)
        break
      case 12:
        this.#state(R.SET_VRING_ENABLE, ring!.index, 1)
        break
      case 13:
        this.#fd(R.SET_VRING_CALL, ring!.index, calls[ring!.index])
        break
      case 14:
        this.#fd(R.SET_VRING_KICK, ring!.index, kicks[ring!.index])
        break
      case 15:
        this.#address(ring!)
        break
      case 16:
        this.#ring(ring!)
        break
      default:
        this.#state(R.GET_VRING_BASE, ring!.index, 0)
    }
  }

  #bytes(length: number): Uint8Array {
    const bytes = new Uint8Array(length)
    this.#random.fill(bytes)
    return bytes
  }

  /** Spoils one message in `rate`, and where they stand. */
  #spoil(rate: number): void {
    if (rate === 0) return
    const random = this.#random
    const frames = this.#frames
    for (let i = 0; i < frames.length; i++) {
      if (!random.once(rate)) continue
      const kind = random.below(16)
      const frame = frames[i]!
      if (kind === 0) frames.splice(i, 1)
      else if (kind === 1) frames.splice(i, 0, { ...frame })
      else if (kind === 2) frames.splice(random.below(frames.length), 0, ...frames.splice(i, 1))
      else this.#spoilFrame(frame, kind)
    }
  }

  #spoilFrame(frame: Frame, kind: number): void {
    const random = this.#random
    const { pool, regions, kicks } = this.#material
    frame.spoilt = true
    const anyFd = (): number => (random.once(4) ? random.pick([...kicks, regions[0]!.fd]) : pool.pick(random))
    switch (kind) {
      case 3:
        frame.request = random.once(8) ? random.next() : random.below(71)
        break
      case 4:
        frame.flags ^= 1 << random.below(random.once(2) ? 4 : 32)
        break
      case 5:
        frame.size = random.once(2) ? random.next() : random.below(400)
        break
      case 6:
        frame.payload = this.#bytes(random.below(random.once(2) ? 50 : 400))
        frame.size = frame.payload.length
        break
      case 7:
        frame.payload = frame.payload.slice(0, random.below(frame.payload.length + 1))
        frame.size = frame.payload.length
        break
      case 8:
        frame.fds = frame.fds.slice(1)
        break
      case 9:
        frame.fds = Array.from({ length: random.once(8) ? random.below(64) : random.below(10) }, anyFd)
        break
      case 10:
      case 11:
        frame.fds = frame.fds.map((fd) => (random.once(2) ? anyFd() : fd))
        break
      case 12:
        frame.cut = 1 + random.below(HEADER.LENGTH + frame.payload.length)
        break
      default:
        this.#spoilField(frame)
    }
  }

  #spoilField(frame: Frame): void {
    const random = this.#random
    const bytes = frame.payload.slice()
    frame.payload = bytes
    if (bytes.length === 0) return
    const view = new DataView(bytes.buffer)
    const width = random.pick([1, 2, 4, 8])
    const at = Math.max(0, Math.floor(random.below(bytes.length) / width) * width)
    if (at + width > bytes.length) return
    let value = random.once(3) ? (BigInt(random.next()) << 32n) | BigInt(random.next()) : random.pick(NUMBERS)
    if (random.once(3) && width === 8) value = view.getBigUint64(at, true) + BigInt(random.below(5) - 2)
    if (random.once(6) && width === 8) value = view.getBigUint64(at, true) ^ (1n << BigInt(random.below(64)))
    for (let i = 0; i < width; i++) bytes[at + i] = Number(BigInt.asUintN(64, value) >> BigInt(8 * i)) & 0xff
  }
}

/** Whether the daemon may have been given other memory than the guest's. */
export function givesOtherMemory(frames: readonly Frame[]): boolean {
  return frames.some(({ spoilt, request }) => spoilt && OF_MEMORY.includes(request))
}

/** A frame's bytes. */
export function bytesOf({ request, flags, payload, size }: Frame): Uint8Array {
  const bytes = new Uint8Array(HEADER.LENGTH + payload.length)
  encodeHeader(new DataView(bytes.buffer), 0, request, flags, size)
  bytes.set(payload, HEADER.LENGTH)
  return bytes
}
