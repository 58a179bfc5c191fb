import { connectUnix } from 'memfd-mmap'
import type { InflightBuffer, SharedPart } from './backend-device.js'
import { Connection } from './connection.js'
import { ProtocolError } from './errors.js'
import { hasFeature, VHOST_USER_PROTOCOL_F } from './features.js'
import { acknowledged, closeAll, inflightBuffer, plainReply, type Reply } from './front-end-reply.js'
import { HEADER_FLAG } from './header.js'
import type { Message } from './message.js'
import { CONFIG_ACCESS, CONFIG_ACCESS_F, encodeConfigAccess } from './messages/config.js'
import {
  encodeMemoryTable,
  encodeSingleRegion,
  type MemoryRegion,
  memoryTableBytes,
  SINGLE_REGION,
} from './messages/memory.js'
import { encodeInflight, encodeLog, INFLIGHT_DESCRIPTION, LOG_DESCRIPTION } from './messages/migration.js'
import { SHMEM_CONFIG } from './messages/sharing.js'
import {
  decodeVringState,
  encodeVringAddress,
  encodeVringFd,
  encodeVringState,
  VRING_ADDRESS,
  VRING_FD,
  VRING_STATE,
  type VringAddress,
} from './messages/vring.js'
import { FRONT_END_REQUEST, MAX_REQUEST_PAYLOAD, requestInfo, requestName } from './requests.js'
import { maskPayload, readMask, readU64, u64Payload } from './u64.js'

export type { Reply } from './front-end-reply.js'

export interface FrontEndOptions {
  /** Which requests ask for an acknowledgement, once REPLY_ACK is negotiated. Default: all that have no reply of their own. */
  needReply?: (request: number) => boolean
}

interface Waiter {
  request: number
  resolve: (reply: Reply) => void
  reject: (error: unknown) => void
}

const U64_BYTES = 8
const MAX_REPLY_PAYLOAD = Math.max(MAX_REQUEST_PAYLOAD, SHMEM_CONFIG.SIZE)

/**
 * A vhost-user front end's side of a connection: the part that a VMM plays. One method per message. A method resolves when the
 * reply or acknowledgement is there (NackError for a negative one); where neither is due, when the message is on its way. It
 * rejects with a ProtocolError once the connection is gone.
 */
export class FrontEnd {
  /** Settles (never rejects) when the connection is over: with what ended it, or undefined for an orderly end. */
  readonly closed: Promise<unknown>
  readonly #connection: Connection
  readonly #needReply: (request: number) => boolean
  readonly #waiters: Waiter[] = []
  #resolveClosed: (reason: unknown) => void = () => {}
  #protocolFeatures = 0n
  #over = false

  /** @param fd a connected socket, which is taken over */
  constructor(fd: number, options: FrontEndOptions = {}) {
    this.#needReply = options.needReply ?? (() => true)
    this.closed = new Promise((resolve) => {
      this.#resolveClosed = resolve
    })
    this.#connection = new Connection(fd, { direction: 'replies', maxPayload: MAX_REPLY_PAYLOAD })
    this.#connection.start({
      message: (message) => this.#take(message),
      ended: (reason) => this.#finish(reason),
    })
  }

  /** @throws {SystemError} when there is nobody to connect to */
  static connect(path: string, options: FrontEndOptions = {}): FrontEnd {
    return new FrontEnd(connectUnix(path), options)
  }

  /** What setProtocolFeatures has set. */
  get protocolFeatures(): bigint {
    return this.#protocolFeatures
  }

  /** Ends the connection. What waits for a reply is rejected. */
  close(): void {
    this.#finish(undefined)
  }

  getFeatures(): Promise<bigint> {
    return this.#getMask(FRONT_END_REQUEST.GET_FEATURES)
  }

  setFeatures(features: bigint): Promise<void> {
    return this.command(FRONT_END_REQUEST.SET_FEATURES, maskPayload(features))
  }

  getProtocolFeatures(): Promise<bigint> {
    return this.#getMask(FRONT_END_REQUEST.GET_PROTOCOL_FEATURES)
  }

  async setProtocolFeatures(features: bigint): Promise<void> {
    await this.command(FRONT_END_REQUEST.SET_PROTOCOL_FEATURES, maskPayload(features))
    this.#protocolFeatures = features
  }

  setOwner(): Promise<void> {
    return this.command(FRONT_END_REQUEST.SET_OWNER)
  }

  resetOwner(): Promise<void> {
    return this.command(FRONT_END_REQUEST.RESET_OWNER)
  }

  resetDevice(): Promise<void> {
    return this.command(FRONT_END_REQUEST.RESET_DEVICE)
  }

  /** Request queues that the back end serves. */
  getQueueNum(): Promise<number> {
    return this.#getNumber(FRONT_END_REQUEST.GET_QUEUE_NUM)
  }

  /** The whole memory table; fds[i] is the file of regions[i]. */
  setMemTable(regions: readonly MemoryRegion[], fds: readonly number[]): Promise<void> {
    const payload = new Uint8Array(memoryTableBytes(regions.length))
    encodeMemoryTable(new DataView(payload.buffer), 0, regions)
    return this.command(FRONT_END_REQUEST.SET_MEM_TABLE, payload, fds)
  }

  getMaxMemSlots(): Promise<number> {
    return this.#getNumber(FRONT_END_REQUEST.GET_MAX_MEM_SLOTS)
  }

  addMemReg(region: MemoryRegion, fd: number): Promise<void> {
    return this.command(FRONT_END_REQUEST.ADD_MEM_REG, singleRegion(region), [fd])
  }

  remMemReg(region: MemoryRegion): Promise<void> {
    return this.command(FRONT_END_REQUEST.REM_MEM_REG, singleRegion(region))
  }

  setVringNum(index: number, size: number): Promise<void> {
    return this.command(FRONT_END_REQUEST.SET_VRING_NUM, vringState(index, size))
  }

  setVringBase(index: number, base: number): Promise<void> {
    return this.command(FRONT_END_REQUEST.SET_VRING_BASE, vringState(index, base))
  }

  /** Stops the ring; resolves to where it stands. */
  async getVringBase(index: number): Promise<number> {
    const view = await this.#ask(FRONT_END_REQUEST.GET_VRING_BASE, VRING_STATE.SIZE, vringState(index, 0))
    return decodeVringState(view, 0).num
  }

  setVringAddr(address: VringAddress): Promise<void> {
    const payload = new Uint8Array(VRING_ADDRESS.SIZE)
    encodeVringAddress(new DataView(payload.buffer), 0, address)
    return this.command(FRONT_END_REQUEST.SET_VRING_ADDR, payload)
  }

  /** @param fd an eventfd, or -1 to have the ring polled */
  setVringKick(index: number, fd: number): Promise<void> {
    return this.#vringFd(FRONT_END_REQUEST.SET_VRING_KICK, index, fd)
  }

  /** @param fd an eventfd, or -1 for none */
  setVringCall(index: number, fd: number): Promise<void> {
    return this.#vringFd(FRONT_END_REQUEST.SET_VRING_CALL, index, fd)
  }

  /** @param fd an eventfd, or -1 for none */
  setVringErr(index: number, fd: number): Promise<void> {
    return this.#vringFd(FRONT_END_REQUEST.SET_VRING_ERR, index, fd)
  }

  setVringEnable(index: number, enabled: boolean): Promise<void> {
    return this.command(FRONT_END_REQUEST.SET_VRING_ENABLE, vringState(index, enabled ? 1 : 0))
  }

  /** Config space bytes, or undefined when the back end has none there. */
  async getConfig(offset: number, size: number): Promise<Uint8Array | undefined> {
    const access = { offset, size, flags: CONFIG_ACCESS_F.WRITABLE }
    const { bytes, fds } = await this.request(
      FRONT_END_REQUEST.GET_CONFIG,
      encodeConfigAccess(access, new Uint8Array(0)),
    )
    closeAll(fds)
    return bytes.length === 0 ? undefined : bytes.slice(CONFIG_ACCESS.DATA)
  }

  setConfig(offset: number, bytes: Uint8Array, flags: number = CONFIG_ACCESS_F.WRITABLE): Promise<void> {
    return this.command(FRONT_END_REQUEST.SET_CONFIG, encodeConfigAccess({ offset, size: bytes.length, flags }, bytes))
  }

  getStatus(): Promise<number> {
    return this.#getNumber(FRONT_END_REQUEST.GET_STATUS)
  }

  setStatus(status: number): Promise<void> {
    return this.command(FRONT_END_REQUEST.SET_STATUS, u64Payload(status))
  }

  /** Where the back end marks what it writes. With LOG_SHMFD it always answers, whatever options.needReply says. */
  async setLogBase(log: SharedPart): Promise<void> {
    const payload = new Uint8Array(LOG_DESCRIPTION.SIZE)
    encodeLog(new DataView(payload.buffer), 0, { mmapSize: log.size, mmapOffset: log.offset })
    const request = FRONT_END_REQUEST.SET_LOG_BASE
    if (!hasFeature(this.#protocolFeatures, VHOST_USER_PROTOCOL_F.LOG_SHMFD)) {
      await this.command(request, payload, [log.fd])
      return
    }
    const flags = HEADER_FLAG.VERSION | (this.#asksForAck(request) ? HEADER_FLAG.NEED_REPLY : 0)
    acknowledged(request, await this.#exchange(request, flags, payload, [log.fd]))
  }

  /** A buffer for `queues` rings of up to `queueSize` entries; its descriptor is the caller's. Undefined when there is none. */
  async getInflightFd(queues: number, queueSize: number): Promise<InflightBuffer | undefined> {
    const request = FRONT_END_REQUEST.GET_INFLIGHT_FD
    const reply = await this.request(request, inflightPayload({ queues, queueSize, size: 0, offset: 0 }))
    return inflightBuffer(reply)
  }

  setInflightFd(buffer: InflightBuffer): Promise<void> {
    return this.command(FRONT_END_REQUEST.SET_INFLIGHT_FD, inflightPayload(buffer), [buffer.fd])
  }

  /** @param fd a connected Unix stream socket */
  setBackendReqFd(fd: number): Promise<void> {
    return this.command(FRONT_END_REQUEST.SET_BACKEND_REQ_FD, undefined, [fd])
  }

  /** Any request that has a reply of its own. Descriptors stay the caller's. */
  request(request: number, payload?: Uint8Array, fds?: readonly number[]): Promise<Reply> {
    return this.#exchange(request, HEADER_FLAG.VERSION, payload, fds)
  }

  /** Any request that is at most acknowledged. Descriptors stay the caller's. */
  async command(request: number, payload?: Uint8Array, fds?: readonly number[]): Promise<void> {
    if (!this.#asksForAck(request) || requestInfo(request)?.reply === 'explicit') {
      if (!this.#connection.send(request, HEADER_FLAG.VERSION, payload, fds)) throw gone()
      return
    }
    const flags = HEADER_FLAG.VERSION | HEADER_FLAG.NEED_REPLY
    acknowledged(request, await this.#exchange(request, flags, payload, fds))
  }

  /** Bytes as they are, with descriptors: for tests of what a back end makes of them. */
  sendRaw(bytes: Uint8Array, fds?: readonly number[]): void {
    if (!this.#connection.sendBytes(bytes, fds)) throw gone()
  }

  /** Waits until the back end has carried out all that was sent before, as QEMU does without REPLY_ACK. */
  async barrier(): Promise<void> {
    await this.getFeatures()
  }

  #asksForAck(request: number): boolean {
    return hasFeature(this.#protocolFeatures, VHOST_USER_PROTOCOL_F.REPLY_ACK) && this.#needReply(request)
  }

  async #getMask(request: number): Promise<bigint> {
    return readMask(await this.#ask(request, U64_BYTES), 0)
  }

  async #getNumber(request: number): Promise<number> {
    return readU64(await this.#ask(request, U64_BYTES), 0)
  }

  /** A request whose reply has `size` bytes and no descriptors. */
  async #ask(request: number, size: number, payload?: Uint8Array): Promise<DataView> {
    return plainReply(request, await this.request(request, payload), size)
  }

  #vringFd(request: number, index: number, fd: number): Promise<void> {
    const payload = new Uint8Array(VRING_FD.SIZE)
    encodeVringFd(new DataView(payload.buffer), 0, { index, hasFd: fd >= 0 })
    return this.command(request, payload, fd >= 0 ? [fd] : [])
  }

  #exchange(request: number, flags: number, payload?: Uint8Array, fds?: readonly number[]): Promise<Reply> {
    return new Promise((resolve, reject) => {
      if (this.#connection.send(request, flags, payload, fds)) this.#waiters.push({ request, resolve, reject })
      else reject(gone())
    })
  }

  #take(message: Message): void {
    const waiter = this.#waiters.shift()
    if (waiter?.request !== message.request || message.flags !== (HEADER_FLAG.VERSION | HEADER_FLAG.REPLY)) {
      const expected = waiter === undefined ? 'nothing' : requestName(waiter.request)
      const error = new ProtocolError('VUS_BAD_REPLY', `to ${requestName(message.request)}, awaited: ${expected}`)
      waiter?.reject(error)
      throw error
    }
    const bytes = message.bytes.slice()
    const fds = message.fds.map((_, i) => message.takeFd(i))
    waiter.resolve({ bytes, view: new DataView(bytes.buffer), fds })
  }

  #finish(reason: unknown): void {
    this.#connection.close()
    if (this.#over) return
    this.#over = true
    for (const waiter of this.#waiters.splice(0)) waiter.reject(reason ?? gone())
    this.#resolveClosed(reason)
  }
}

function gone(): ProtocolError {
  return new ProtocolError('VUS_DISCONNECTED')
}

function inflightPayload(buffer: Omit<InflightBuffer, 'fd'>): Uint8Array {
  const { size, offset, queues, queueSize } = buffer
  const payload = new Uint8Array(INFLIGHT_DESCRIPTION.SIZE)
  const description = { mmapSize: size, mmapOffset: offset, numQueues: queues, queueSize }
  encodeInflight(new DataView(payload.buffer), 0, description)
  return payload
}

function vringState(index: number, num: number): Uint8Array {
  const payload = new Uint8Array(VRING_STATE.SIZE)
  encodeVringState(new DataView(payload.buffer), 0, { index, num })
  return payload
}

function singleRegion(region: MemoryRegion): Uint8Array {
  const payload = new Uint8Array(SINGLE_REGION.SIZE)
  encodeSingleRegion(new DataView(payload.buffer), 0, region)
  return payload
}
