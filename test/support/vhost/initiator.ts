import { connectUnix, createEventfd, raw } from 'memfd-mmap'
import {
  AN_REQUEST,
  AN_RESPONSE,
  type ChainStyle,
  CMD_REQUEST,
  CMD_RESPONSE,
  type DriverAllocation,
  FrontEnd,
  hasFeature,
  type InflightBuffer,
  PACKED_BASE_NEW,
  SplitDriver,
  TMF_REQUEST,
  TMF_RESPONSE,
  VHOST_USER_F,
  VHOST_USER_PROTOCOL_F,
  VIRTIO_F,
  VQ,
} from 'vhost-user-protocol-ts'
import { within } from '../deadline.js'
import { Arena, bytesOf } from './arena.js'
import { EventBuffers, type ScsiEvent } from './event-buffers.js'
import { type Negotiated, type NegotiationOptions, negotiate } from './negotiate.js'
import { Queue } from './queue.js'
import {
  copyOf,
  cut,
  poisonResponse,
  readResult,
  type ScsiCommand,
  type ScsiResult,
  writeAsyncNotification,
  writeCommand,
  writeTmf,
} from './scsi-request.js'
import { type RegionOptions, SharedMemory } from './shared-memory.js'

export interface InitiatorOptions extends NegotiationOptions {
  /** Request queues. Default 1. */
  readonly queues?: number
  /** Descriptors of each ring. Default 128. */
  readonly ringSize?: number
  /** Guest memory. Default: 64 MiB from address 0 on. */
  readonly memory?: readonly RegionOptions[]
  /** The region for rings, and the one for requests and data. Default 0. */
  readonly ringRegion?: number
  readonly dataRegion?: number
  /** Entries of each indirect table. Default 16. */
  readonly indirectEntries?: number
  /** How requests are laid out unless one says otherwise. Default `direct`. */
  readonly style?: ChainStyle
  /** Longest wait of any method, ms. Default 10 s. */
  readonly deadline?: number
  /** Do not start the rings yet. */
  readonly stopped?: boolean
}

const DEADLINE = 10_000
const RING_SIZE = 128

export interface SubmitOptions {
  /** Number of the request queue, from 0. Default 0. */
  readonly queue?: number
  readonly style?: ChainStyle
  /** Put it into the ring but do not show it to the device yet. */
  readonly unpublished?: boolean
}

/** A command in flight. */
export interface Submitted {
  readonly tag: number
  readonly head: number
  readonly queue: Queue
  /** Settles with the answer, without a deadline. */
  readonly done: Promise<ScsiResult>
}

/**
 * A virtio-scsi guest and its VMM in one object: guest memory, rings, and the vhost-user connection of a daemon's
 * controller, set up in QEMU's order. For tests and the benchmark.
 */
export class Initiator {
  readonly memory: SharedMemory
  readonly queues: readonly Queue[]
  #frontEnd: FrontEnd
  #negotiated: Negotiated
  /** Kept for a back end that comes after this one; undefined: none was negotiated, or asked for yet. */
  #inflight: InflightBuffer | undefined
  readonly #options: InitiatorOptions
  readonly #arena: Arena
  readonly #events: EventBuffers
  readonly #style: ChainStyle
  readonly #deadline: number
  readonly #maskedCallFd = createEventfd()
  readonly #bases: number[]
  #memoryKnown = false
  #nextTag = 1
  #closed = false

  private constructor(frontEnd: FrontEnd, negotiated: Negotiated, o: InitiatorOptions) {
    this.#frontEnd = frontEnd
    this.#negotiated = negotiated
    this.#options = o
    this.memory = new SharedMemory(o.memory ?? [{ guestAddress: 0, size: 64 * 2 ** 20 }])
    this.#arena = new Arena(this.memory, o.dataRegion ?? 0)
    this.#style = o.style ?? 'direct'
    this.#deadline = o.deadline ?? DEADLINE
    const ring = {
      size: o.ringSize ?? RING_SIZE,
      eventIdx: hasFeature(negotiated.features, VIRTIO_F.EVENT_IDX),
      indirectEntries: o.indirectEntries ?? 16,
      region: o.ringRegion ?? 0,
      packed: hasFeature(negotiated.features, VIRTIO_F.RING_PACKED),
    }
    const count = VQ.REQUEST + (o.queues ?? 1)
    this.queues = Array.from({ length: count }, (_, index) => new Queue(index, this.memory, ring))
    this.#bases = this.queues.map(({ driver }) => (driver.packed ? PACKED_BASE_NEW : 0))
    this.#events = new EventBuffers(this.queues[VQ.EVENT]!, this.memory, o.dataRegion ?? 0)
  }

  /**
   * Connects to a back end's socket (a path, or a connected descriptor, which is taken over), negotiates, hands the
   * memory over and starts all rings.
   */
  static async connect(socket: string | number, o: InitiatorOptions = {}): Promise<Initiator> {
    const deadline = o.deadline ?? DEADLINE
    const frontEnd = new FrontEnd(typeof socket === 'number' ? socket : connectUnix(socket))
    let initiator: Initiator | undefined
    try {
      const negotiated = await within(deadline, 'vhost-user negotiation', negotiate(frontEnd, o))
      initiator = new Initiator(frontEnd, negotiated, o)
      await within(deadline, 'vhost-user set-up', initiator.#prepare())
      if (o.stopped !== true) await within(deadline, 'start of the rings', initiator.start())
      return initiator
    } catch (error) {
      if (initiator !== undefined) await initiator.close()
      else frontEnd.close()
      throw error
    }
  }

  /**
   * Goes on with another back end after the last one has gone, as QEMU 8.2 and later do: the same memory, rings and requests in
   * flight, no reset, each ring from its used index on. May be tried again when it fails.
   */
  async reconnect(socket: string): Promise<void> {
    this.#frontEnd.close()
    await this.#frontEnd.closed
    const frontEnd = new FrontEnd(connectUnix(socket))
    this.#frontEnd = frontEnd
    this.#memoryKnown = false
    this.#negotiated = await within(this.#deadline, 'vhost-user negotiation', negotiate(frontEnd, this.#options))
    await within(this.#deadline, 'vhost-user set-up', this.#introduceRings())
    // Of a packed ring QEMU knows nothing more than where it was when it was last stopped.
    for (const { index, driver } of this.queues) {
      if (driver instanceof SplitDriver) this.#bases[index] = driver.deviceUsedIndex
    }
    await within(this.#deadline, 'start of the rings', this.start())
  }

  get frontEnd(): FrontEnd {
    return this.#frontEnd
  }

  get negotiated(): Negotiated {
    return this.#negotiated
  }

  /** The inflight buffer, if there is one. */
  get inflight(): InflightBuffer | undefined {
    return this.#inflight
  }

  /** The control queue, the event queue, and request queue number `i`, from 0. */
  get control(): Queue {
    return this.queues[VQ.CONTROL]!
  }

  get events(): Queue {
    return this.queues[VQ.EVENT]!
  }

  request(i: number): Queue {
    const queue = this.queues[VQ.REQUEST + i]
    if (queue === undefined) throw new RangeError(`no request queue ${i}`)
    return queue
  }

  /** What QEMU does for a fresh connection: call eventfds that nobody listens to, and a reset. */
  async #prepare(): Promise<void> {
    await this.#introduceRings()
    if (this.#has(VHOST_USER_PROTOCOL_F.RESET_DEVICE)) await this.frontEnd.resetDevice()
  }

  async #introduceRings(): Promise<void> {
    const { frontEnd } = this
    for (const queue of this.queues) {
      await frontEnd.setVringCall(queue.index, this.#maskedCallFd)
      await frontEnd.setVringErr(queue.index, queue.errFd)
    }
  }

  #has(bit: number): boolean {
    return hasFeature(this.negotiated.protocolFeatures, bit)
  }

  get #enables(): boolean {
    return hasFeature(this.negotiated.features, VHOST_USER_F.PROTOCOL_FEATURES)
  }

  /** Starts all rings, or the given ones (indexes as on the wire), where they stand. */
  async start(indexes: readonly number[] = this.queues.map((queue) => queue.index)): Promise<void> {
    const { frontEnd } = this
    await frontEnd.setFeatures(this.negotiated.features)
    await this.#shareInflight()
    await this.shareMemory()
    for (const index of indexes) await this.setUpRing(index)
    if (this.#enables) {
      for (const index of indexes) await frontEnd.setVringEnable(index, true)
    }
    for (const index of indexes) await frontEnd.setVringCall(index, this.queues[index]!.callFd)
    await frontEnd.barrier()
  }

  /** QEMU 10.2 asks for a buffer once, and gives it to each back end. */
  async #shareInflight(): Promise<void> {
    if (!this.#has(VHOST_USER_PROTOCOL_F.INFLIGHT_SHMFD)) return
    this.#inflight ??= await this.frontEnd.getInflightFd(this.queues.length, this.#options.ringSize ?? RING_SIZE)
    if (this.#inflight !== undefined) await this.frontEnd.setInflightFd(this.#inflight)
  }

  /** Hands the memory over, unless that was done: QEMU does it once a connection when it can add regions singly. */
  async shareMemory(): Promise<void> {
    const { regions } = this.memory
    if (!this.#has(VHOST_USER_PROTOCOL_F.CONFIGURE_MEM_SLOTS)) {
      const fds = regions.map((region) => region.fd)
      await this.frontEnd.setMemTable(regions, fds)
    } else if (!this.#memoryKnown) {
      for (const region of regions) await this.frontEnd.addMemReg(region, region.fd)
    }
    this.#memoryKnown = true
  }

  /** NUM, BASE, ADDR and KICK of one ring; QEMU raises the kick eventfd itself. */
  async setUpRing(index: number): Promise<void> {
    const { frontEnd, memory } = this
    const queue = this.queues[index]!
    const { driver } = queue
    await frontEnd.setVringNum(index, driver.size)
    await frontEnd.setVringBase(index, this.#bases[index]!)
    await frontEnd.setVringAddr({
      index,
      flags: 0,
      desc: memory.userAddress(driver.descAddress),
      avail: memory.userAddress(driver.availAddress),
      used: memory.userAddress(driver.usedAddress),
      log: 0,
    })
    await frontEnd.setVringKick(index, queue.kickFd)
    queue.kick()
  }

  /** Disables and stops rings; their bases are remembered for the next `start`, and returned. */
  async stop(indexes: readonly number[] = this.queues.map((queue) => queue.index)): Promise<number[]> {
    if (this.#enables) {
      for (const index of indexes) await this.frontEnd.setVringEnable(index, false)
    }
    const bases: number[] = []
    for (const index of indexes) {
      const base = await within(this.#deadline, `stop of ring ${index}`, this.frontEnd.getVringBase(index))
      this.#bases[index] = base
      bases.push(base)
    }
    return bases
  }

  /** Has the device use another call eventfd for a queue, as when a guest masks or unmasks its interrupt. */
  async replaceCallFd(queue: Queue): Promise<void> {
    const closeOld = queue.replaceCallFd()
    await this.frontEnd.setVringCall(queue.index, queue.callFd)
    await this.frontEnd.barrier()
    closeOld()
  }

  /** Puts a command into a request queue. */
  submit(command: ScsiCommand, o: SubmitOptions = {}): Submitted {
    const queue = this.request(o.queue ?? 0)
    const tag = command.tag ?? this.#nextTag++
    const pieces: DriverAllocation[] = []
    const take = (length: number) => {
      const piece = this.#arena.take(length)
      pieces.push(piece)
      return piece
    }
    const header = take(CMD_REQUEST.SIZE)
    const response = take(CMD_RESPONSE.SIZE)
    const dataOut = command.dataOut === undefined ? undefined : take(command.dataOut.length)
    const dataIn = command.dataIn === undefined ? undefined : take(command.dataIn)
    writeCommand(bytesOf(header), command, tag)
    poisonResponse(bytesOf(response))
    if (dataOut !== undefined) bytesOf(dataOut).set(command.dataOut!)
    const segments = [
      ...cut(header, false),
      ...(dataOut === undefined ? [] : cut(dataOut, false, command.split)),
      ...cut(response, true),
      ...(dataIn === undefined ? [] : cut(dataIn, true, command.split)),
    ]
    const { head, done } = queue.add(segments, o.style ?? this.#style)
    if (o.unpublished !== true) queue.publish()
    const answered = done.then((usedLength) => {
      const data = dataIn === undefined ? new Uint8Array(0) : copyOf(dataIn)
      const result = readResult(copyOf(response), data, usedLength)
      for (const piece of pieces) this.#arena.give(piece)
      return result
    })
    answered.catch(() => {})
    return { tag, head, queue, done: answered }
  }

  /** Runs one command and waits for its answer. */
  scsi(command: ScsiCommand, o: SubmitOptions = {}): Promise<ScsiResult> {
    const { done, queue } = this.submit(command, o)
    return within(this.#deadline, `SCSI command 0x${command.cdb[0]?.toString(16)} on ring ${queue.index}`, done)
  }

  /** TEST UNIT READY until it is: takes the unit attentions of a fresh nexus. Throws when it takes more than ten. */
  async ready(target: number, lun: number, o: SubmitOptions = {}): Promise<void> {
    let last: ScsiResult | undefined
    for (let i = 0; i < 10; i++) {
      last = await this.scsi({ cdb: new Uint8Array(6), target, lun }, o)
      if (last.response === 0 && last.status === 0) return
    }
    throw new Error(`target ${target} LUN ${lun} does not get ready: ${JSON.stringify(last)}`)
  }

  /** A task management function; its response code (virtio 1.3 5.6.6.2). */
  async tmf(subtype: number, target: number, lun: number, tag = 0): Promise<number> {
    const answer = await this.controlRequest(TMF_REQUEST.SIZE, TMF_RESPONSE.SIZE, (bytes) =>
      writeTmf(bytes, subtype, target, lun, tag),
    )
    return answer[TMF_RESPONSE.RESPONSE]!
  }

  /** An asynchronous notification query or subscription: the events that are on, and the response code. */
  async asyncNotification(type: number, target: number, lun: number, events: number) {
    const answer = await this.controlRequest(AN_REQUEST.SIZE, AN_RESPONSE.SIZE, (bytes) =>
      writeAsyncNotification(bytes, type, target, lun, events),
    )
    const view = new DataView(answer.buffer)
    return {
      events: view.getUint32(AN_RESPONSE.EVENT_ACTUAL, true),
      response: view.getUint8(AN_RESPONSE.RESPONSE),
    }
  }

  /** Any request on the control queue: `write` fills the readable part; resolves to a copy of the writable one. */
  async controlRequest(
    readable: number,
    writable: number,
    write: (bytes: Uint8Array) => void,
    style: ChainStyle = this.#style,
  ): Promise<Uint8Array> {
    const request = this.#arena.take(readable)
    const response = this.#arena.take(writable)
    write(bytesOf(request))
    poisonResponse(bytesOf(response))
    const segments = [...cut(request, false), ...cut(response, true)]
    const { done } = this.control.add(segments, style)
    this.control.publish()
    await within(this.#deadline, 'control request', done)
    const answer = copyOf(response)
    this.#arena.give(request)
    this.#arena.give(response)
    return answer
  }

  /** Posts event buffers of `length` bytes each. They are posted again as they come back. */
  postEvents(count: number, length?: number): void {
    this.#events.post(count, length)
  }

  /** Whether event buffers that come back are posted again. They are, unless this says otherwise. */
  set keepsEvents(keeps: boolean) {
    this.#events.keeps = keeps
  }

  /** The next event from the device. */
  event(): Promise<ScsiEvent> {
    return within(this.#deadline, 'event', this.#events.next())
  }

  /** Ends the connection and gives everything back. Idempotent. */
  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    this.frontEnd.close()
    await this.frontEnd.closed
    for (const queue of this.queues) queue.close()
    raw.close(this.#maskedCallFd)
    if (this.#inflight !== undefined) raw.close(this.#inflight.fd)
    this.memory.close()
  }
}
