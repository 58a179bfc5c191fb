import { close, createEventfd, createMemfd, signalEventfd, socketPair } from 'memfd-mmap'
import type { Test } from 'tap'
import {
  encodeMemoryTable,
  encodeSingleRegion,
  encodeVringAddress,
  encodeVringFd,
  encodeVringState,
  type FrontEndRing,
  hasFeature,
  type InflightBuffer,
  maskPayload,
  memoryTableBytes,
  FRONT_END_REQUEST as REQUEST,
  readMask,
  requestInfo,
  VHOST_F,
  VHOST_USER_PROTOCOL_F,
} from 'vhost-user-protocol-ts'
import { Drip } from './drip.js'
import { Files, Harness, region } from './harness.js'
import { RecordingDevice } from './recording-device.js'

/** vq 0 and 1 and two request queues: num_queues=2. */
export const RINGS = [0, 1, 2, 3]
export const SEABIOS = 0x140000000n
export const LINUX = 0x170000006n
const LOG_ALL = 1n << BigInt(VHOST_F.LOG_ALL)

const bytes = (size: number, encode: (view: DataView) => void): Uint8Array => {
  const payload = new Uint8Array(size)
  encode(new DataView(payload.buffer))
  return payload
}
const state = (index: number, num: number) => bytes(8, (view) => encodeVringState(view, 0, { index, num }))
export const ringFd = (index: number, fd: number) =>
  bytes(8, (view) => encodeVringFd(view, 0, { index, hasFd: fd >= 0 }))
export const single = (number: number) => bytes(40, (view) => encodeSingleRegion(view, 0, region(number)))
export const table = (...numbers: number[]) =>
  bytes(memoryTableBytes(numbers.length), (view) => encodeMemoryTable(view, 0, numbers.map(region)))

const ALWAYS = new Set<number>([
  REQUEST.SET_MEM_TABLE,
  REQUEST.ADD_MEM_REG,
  REQUEST.REM_MEM_REG,
  REQUEST.SET_BACKEND_REQ_FD,
])
const RING_MESSAGES = new Set<number>([
  REQUEST.SET_VRING_KICK,
  REQUEST.SET_VRING_CALL,
  REQUEST.SET_VRING_ERR,
  REQUEST.SET_VRING_ENABLE,
])

/** Which messages QEMU wants acknowledged, whatever it is about. */
export const VERSIONS: Record<string, (request: number) => boolean> = {
  '7.2': (request) => ALWAYS.has(request),
  '10.2': (request) => ALWAYS.has(request) || RING_MESSAGES.has(request),
}

/** Sockets for a session and a front end, with a Drip between them. */
const dripping = (): [number, number] => {
  const { backEndFd, frontEndFd } = new Drip()
  return [backEndFd, frontEndFd]
}

/** A step for each ring. */
export const each = (what: string): string[] => RINGS.map((index) => `${what} ${index}`)

/** QEMU as it was traced: one message after the other, waiting only where QEMU waits. */
export class Qemu {
  readonly harness: Harness
  readonly files = new Files()
  readonly twice: boolean
  /** Logging is being turned on: SET_FEATURES and SET_VRING_ADDR are to be acknowledged. */
  #enabling = false
  #inflight: InflightBuffer | undefined
  #channel = -1

  /** `drip`: every byte goes out alone. */
  constructor(version: string, device = new RecordingDevice(), drip = false) {
    const needReply = (request: number): boolean =>
      VERSIONS[version]!(request) ||
      (this.#enabling && (request === REQUEST.SET_FEATURES || request === REQUEST.SET_VRING_ADDR))
    this.harness = new Harness(device, { needReply }, drip ? dripping() : undefined)
    this.twice = version === '10.2'
  }

  async send(request: number, payload?: Uint8Array, ...fds: number[]): Promise<DataView> {
    const { frontEnd } = this.harness
    if (requestInfo(request)!.reply === 'explicit') return (await frontEnd.request(request, payload, fds)).view
    await frontEnd.command(request, payload, fds)
    return new DataView(new ArrayBuffer(0))
  }

  async connect(): Promise<void> {
    await this.send(REQUEST.GET_FEATURES)
    const offered = readMask(await this.send(REQUEST.GET_PROTOCOL_FEATURES), 0)
    await this.harness.frontEnd.setProtocolFeatures(offered & 0x1ffffn)
    await this.send(REQUEST.GET_QUEUE_NUM)
    if ((offered & 0x8000n) !== 0n) await this.send(REQUEST.GET_MAX_MEM_SLOTS)
    if (hasFeature(offered, VHOST_USER_PROTOCOL_F.BACKEND_REQ)) {
      const [here, there] = socketPair()
      await this.harness.frontEnd.setBackendReqFd(there)
      close(there)
      this.#channel = here
    }
    await this.send(REQUEST.SET_OWNER)
    await this.send(REQUEST.GET_FEATURES)
    for (const index of RINGS) {
      const [masked, err] = [createEventfd(), createEventfd()]
      await this.send(REQUEST.SET_VRING_CALL, ringFd(index, masked), masked)
      await this.send(REQUEST.SET_VRING_ERR, ringFd(index, err), err)
      close(masked)
      close(err)
    }
    await this.send(REQUEST.RESET_DEVICE)
  }

  async features(features: bigint): Promise<void> {
    for (let i = 0; i < (this.twice ? 2 : 1); i++) await this.send(REQUEST.SET_FEATURES, maskPayload(features))
  }

  /** 7.2 takes a fresh buffer for each start, before it sends any features; 10.2 keeps one. */
  async featuresAndInflight(features: bigint): Promise<void> {
    if (this.twice) await this.send(REQUEST.SET_FEATURES, maskPayload(features))
    if (!this.twice || this.#inflight === undefined) {
      this.takeInflight(true)
      this.#inflight = await this.harness.frontEnd.getInflightFd(RINGS.length, 128)
    }
    if (this.#inflight !== undefined) await this.harness.frontEnd.setInflightFd(this.#inflight)
    await this.send(REQUEST.SET_FEATURES, maskPayload(features))
  }

  /** Hands the buffer over, for the next connection; or closes it. */
  takeInflight(discard = false): InflightBuffer | undefined {
    const inflight = this.#inflight
    this.#inflight = undefined
    if (discard && inflight !== undefined) close(inflight.fd)
    return inflight
  }

  /** The buffer of the connection before. */
  giveInflight(inflight: InflightBuffer | undefined): void {
    this.#inflight = inflight
  }

  async setLog(size: number): Promise<void> {
    const fd = createMemfd('log', size)
    await this.harness.frontEnd.setLogBase({ fd, size, offset: 0 })
    close(fd)
  }

  /** Turns logging on or off, of the device and of these rings. */
  async log(features: bigint, rings: readonly FrontEndRing[], enabled: boolean): Promise<void> {
    this.#enabling = enabled
    await this.send(REQUEST.SET_FEATURES, maskPayload(enabled ? features | LOG_ALL : features))
    for (const ring of rings) await this.#address(ring, enabled)
    this.#enabling = false
  }

  /** @param logging the rings are started during a migration: the log comes when they have their kicks */
  async startRings(rings: readonly FrontEndRing[], logging = 0): Promise<void> {
    for (const ring of rings) {
      const { index, size, base, kickFd } = ring
      await this.send(REQUEST.SET_VRING_NUM, state(index, size))
      await this.send(REQUEST.SET_VRING_BASE, state(index, base))
      await this.#address(ring, logging > 0)
      await this.send(REQUEST.SET_VRING_KICK, ringFd(index, kickFd), kickFd)
      signalEventfd(kickFd)
    }
    if (logging > 0) await this.setLog(logging)
    for (const index of RINGS) await this.send(REQUEST.SET_VRING_ENABLE, state(index, 1))
    for (const index of RINGS) {
      const callFd = rings.find((ring) => ring.index === index)?.callFd ?? -1
      await this.send(REQUEST.SET_VRING_CALL, ringFd(index, callFd), ...(callFd < 0 ? [] : [callFd]))
    }
  }

  async #address({ index, desc, avail, used }: FrontEndRing, log: boolean): Promise<void> {
    const address = { index, flags: log ? 1 : 0, desc, avail, used, log: log ? used : 0 }
    await this.send(
      REQUEST.SET_VRING_ADDR,
      bytes(40, (view) => encodeVringAddress(view, 0, address)),
    )
  }

  async stop(...rings: number[]): Promise<number[]> {
    for (const index of RINGS) await this.send(REQUEST.SET_VRING_ENABLE, state(index, 0))
    const bases: number[] = []
    for (const index of rings) {
      bases.push((await this.send(REQUEST.GET_VRING_BASE, state(index, 0))).getUint32(4, true))
    }
    return bases
  }

  /** The back end has done all that was asked; what the device was told, since the last time. */
  async told(): Promise<string[]> {
    await this.harness.frontEnd.barrier()
    return this.harness.device.take()
  }

  async quit(t: Test): Promise<void> {
    t.equal((await this.harness.leave()).code, 'VUS_PEER_CLOSED')
    t.same(this.harness.reports.codes('warn'), [])
    this.release()
  }

  /** Closes what QEMU would close when it ends. */
  release(): void {
    this.files.close()
    this.takeInflight(true)
    if (this.#channel >= 0) close(this.#channel)
    this.#channel = -1
  }
}
