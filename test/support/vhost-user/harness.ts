import { close, createEventfd, createMemfd, drainEventfd, socketPair } from 'memfd-mmap'
import type { Test } from 'tap'
import {
  BackendSession,
  FrontEnd,
  type FrontEndOptions,
  type FrontEndRing,
  type MemoryRegion,
  type ReportLevel,
  type SessionEnd,
  type SessionReporter,
} from 'vhost-user-protocol-ts'
import { within } from '../deadline.js'
import { openFiles } from '../proc.js'
import { RecordingDevice } from './recording-device.js'

const PATIENCE = 10_000

export interface Report {
  level: ReportLevel
  code: string
  message: string
}

/** Keeps what is reported. */
export class Reports implements SessionReporter {
  readonly all: Report[] = []

  event(level: ReportLevel, code: string, message: string): void {
    this.all.push({ level, code, message })
  }

  /** The codes that were reported at a level. */
  codes(level: ReportLevel): string[] {
    return this.all.filter((report) => report.level === level).map((report) => report.code)
  }

  /** The names of the messages that arrived. */
  get messages(): string[] {
    return this.all.filter(({ code }) => code === 'VUS_MESSAGE').map(({ message }) => message)
  }
}

/** A session over a recording device, with a front end at the other end of a socket pair. */
export class Harness {
  readonly device: RecordingDevice
  readonly reports = new Reports()
  readonly session: BackendSession
  readonly frontEnd: FrontEnd

  /** @param sockets the session's and the front end's */
  constructor(device = new RecordingDevice(), options: FrontEndOptions = {}, sockets = socketPair()) {
    const [here, there] = sockets
    this.device = device
    this.session = new BackendSession(here, device, { report: this.reports })
    this.frontEnd = new FrontEnd(there, options)
  }

  /** Features and protocol features as far as offered. */
  async negotiate(): Promise<void> {
    await this.frontEnd.setProtocolFeatures(await this.frontEnd.getProtocolFeatures())
    await this.frontEnd.setFeatures(await this.frontEnd.getFeatures())
    await this.frontEnd.barrier()
    this.device.take()
  }

  /** How the session ended. */
  ended(): Promise<SessionEnd> {
    return within(PATIENCE, 'the end of the session', this.session.closed)
  }

  /** The front end leaves; how the session ended. */
  async leave(): Promise<SessionEnd> {
    this.frontEnd.close()
    return this.ended()
  }
}

export const soon = <T>(what: string, promise: Promise<T>): Promise<T> => within(PATIENCE, what, promise)

/** A subtest that must leave as many descriptors open as it found. */
export const leakless = (t: Test, name: string, run: (t: Test) => Promise<void>): void => {
  t.test(name, async (t) => {
    // The first poll opens descriptors that stay.
    const warm = new Harness()
    await warm.frontEnd.barrier()
    await warm.leave()
    const before = [...openFiles(process.pid).values()].sort()
    await run(t)
    t.same([...openFiles(process.pid).values()].sort(), before, 'no descriptor is left open')
  })
}

export const MEMORY_SIZE = 1 << 20
export const USER_BASE = 0x7f0000000000

export const region = (number = 0): MemoryRegion => ({
  guestAddress: number * MEMORY_SIZE,
  size: MEMORY_SIZE,
  userAddress: USER_BASE + number * MEMORY_SIZE,
  mmapOffset: 0,
})

/** Files for memory and eventfds for rings; closed together. */
export class Files {
  readonly #fds: number[] = []

  memory(): number {
    return this.#keep(createMemfd('guest', MEMORY_SIZE))
  }

  event(): number {
    return this.#keep(createEventfd())
  }

  ring(index: number, base = 0): FrontEndRing {
    const at = USER_BASE + index * 0x4000
    const [kickFd, callFd] = [this.event(), this.event()]
    return { index, size: 128, base, desc: at, avail: at + 0x1000, used: at + 0x2000, kickFd, callFd }
  }

  close(): void {
    for (const fd of this.#fds.splice(0)) close(fd)
  }

  #keep(fd: number): number {
    this.#fds.push(fd)
    return fd
  }
}

/** How often an eventfd was signalled since it was asked last. */
export const signals = (fd: number): number => drainEventfd(fd)
