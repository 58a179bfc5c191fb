import type { Test } from 'tap'
import { type Daemon, startDaemon } from '../daemon.js'
import { eventually, reported, within } from '../deadline.js'
import { type Footprint, footprint, settledFootprint } from '../footprint.js'
import type { Teardown } from '../teardown.js'
import { Initiator, type InitiatorOptions } from '../vhost/initiator.js'

export const PATIENCE = 30_000
const MIB = 2 ** 20

/** Two regions with a gap between them and beyond them. */
export const REGIONS = [
  { guestAddress: 0, size: 8 * MIB },
  { guestAddress: 2 ** 32, size: MIB },
]
/** Guest addresses without memory. */
export const NOWHERE = 16 * MIB
export const BEYOND = 2 ** 40

const FAULTS = 'vhost_user_scsi_faults_total'

/** Faults by their code. */
export type Faults = Readonly<Record<string, number>>

/**
 * A daemon that is to survive what is done to it. Its log is limited to ten lines of faults at once: no more attacks than that in one
 * bed, if each is to be looked for in the log.
 */
export class Bed {
  readonly daemon: Daemon
  #idle: Footprint
  #log = ''

  private constructor(daemon: Daemon, idle: Footprint) {
    this.daemon = daemon
    this.#idle = idle
    this.#log = daemon.child.stderr
    daemon.child.process.stderr?.on('data', (text: string) => {
      this.#log += text
    })
  }

  /** LUN 0 of target 0 is in memory; `args` are further ones. */
  static async start(t: Teardown, args: readonly string[] = []): Promise<Bed> {
    const daemon = await startDaemon(t, [
      '--lun=id=mem0,target=0,lun=0,driver=memory,size=4M',
      '--num-queues=4',
      '--log-format=json',
      ...args,
    ])
    // The first connection and the first scrape open what stays open.
    await serve(daemon.socketPath)
    await daemon.metrics()
    return new Bed(daemon, footprint(daemon))
  }

  /** A well-behaved set-up of two request queues, to do something bad with. Gone at the latest with the test. */
  async connect(t: Teardown, options: InitiatorOptions = {}): Promise<Initiator> {
    const initiator = await Initiator.connect(this.daemon.socketPath, {
      queues: 2,
      memory: REGIONS,
      deadline: PATIENCE,
      ...options,
    })
    t.teardown(() => initiator.close())
    return initiator
  }

  /** The faults counted so far; those that never happened are left out. */
  async faults(): Promise<Faults> {
    const samples = (await this.daemon.metrics()).select(FAULTS).filter(({ value }) => value > 0)
    return Object.fromEntries(samples.map(({ labels, value }) => [labels.kind!, value]))
  }

  /** The codes in the log's lines from a place in it on. */
  #loggedCodes(from: number): Set<string> {
    const codes = this.#log.slice(from).matchAll(/"code":"([A-Z0-9_]+)"/g)
    return new Set([...codes].map(([, code]) => code!))
  }

  /**
   * Runs an attack as a subtest. It has to end in exactly these faults, counted and logged, and to leave nothing behind; the
   * next front end is served as if nothing had happened.
   */
  suffers(t: Test, name: string, expected: Faults, attack: (t: Test) => Promise<void>): Promise<unknown> {
    return t.test(name, async (t) => {
      const before = await this.faults()
      const from = this.#log.length
      await this.#reported(attack(t))
      let found: Faults = {}
      await eventually(PATIENCE, `faults ${Object.keys(expected)}`, async () => {
        found = difference(before, await this.faults())
        return total(found) >= total(expected) ? true : undefined
      }).catch(() => {})
      t.same(found, expected, 'the faults that were counted')
      const missing = (): string[] => Object.keys(found).filter((code) => !this.#loggedCodes(from).has(code))
      await eventually(PATIENCE, `${missing()} in the log`, () => (missing().length === 0 ? true : undefined)).catch(
        () => {},
      )
      t.same(missing(), [], 'codes that are not in the log', { log: this.#log.slice(from) })
      await this.#reported(serve(this.daemon.socketPath))
      t.pass('the next front end is served')
      const left = await settledFootprint(this.daemon, this.#idle)
      t.ok(left.files.length <= this.#idle.files.length, 'no descriptor left over', { left, idle: this.#idle })
      t.ok(left.mappings.length <= this.#idle.mappings.length, 'no mapping left over', { left, idle: this.#idle })
      // The first one may have counted a connection of ours that was not closed yet.
      this.#idle = left
    })
  }

  #reported<T>(promise: Promise<T>): Promise<T> {
    return reported(promise, () => this.daemon.child.report())
  }
}

const total = (faults: Faults): number => Object.values(faults).reduce((sum, count) => sum + count, 0)

function difference(before: Faults, after: Faults): Faults {
  const grown = Object.entries(after).map(([code, count]) => [code, count - (before[code] ?? 0)] as const)
  return Object.fromEntries(grown.filter(([, count]) => count > 0))
}

/** What a front end does that only wants its disk: negotiates, writes, reads back, leaves. */
export async function serve(socketPath: string): Promise<void> {
  const initiator = await Initiator.connect(socketPath, { queues: 1, memory: REGIONS, deadline: PATIENCE })
  try {
    await initiator.ready(0, 0)
    await writeAndRead(initiator, 0, Math.floor(Math.random() * 256))
  } finally {
    await initiator.close()
  }
}

/** Writes eight blocks and reads them back, on one request queue. Throws when they differ. */
export async function writeAndRead(initiator: Initiator, queue: number, seed: number): Promise<void> {
  const bytes = new Uint8Array(4096).map((_, i) => i * 7 + seed + (i >> 8))
  const block = 8 * queue
  const written = await initiator.scsi({ cdb: [0x2a, 0, 0, 0, 0, block, 0, 0, 8, 0], dataOut: bytes }, { queue })
  const read = await initiator.scsi({ cdb: [0x28, 0, 0, 0, 0, block, 0, 0, 8, 0], dataIn: 4096 }, { queue })
  for (const { response, status } of [written, read]) {
    if (response !== 0 || status !== 0) throw new Error(`response ${response}, status ${status}`)
  }
  if (Buffer.compare(read.data, bytes) !== 0) throw new Error('what was read is not what was written')
}

/** Waits for something that the daemon has to do. */
export const soon = <T>(what: string, promise: Promise<T>): Promise<T> => within(PATIENCE, what, promise)
