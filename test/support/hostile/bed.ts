import type { Test } from 'tap'
import { startConfigured } from '../configured-daemon.js'
import type { Daemon } from '../daemon.js'
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

/** The daemon writes ten lines of faults for each controller at once, then one a second: an attack is to be found in the log. */
const ATTACKS_PER_CONTROLLER = 8

export interface BedOptions {
  /** How many attacks there may be. Default 8. */
  readonly attacks?: number
  /** LUNs of the first controller besides LUN 0 of target 0, which is in memory. */
  readonly luns?: readonly ExtraLun[]
}

type ExtraLun = Readonly<Record<string, unknown>> & { readonly target: number; readonly lun: number }

const placeOf = ({ id, target, lun }: ExtraLun & { id: string }) => ({ id, target, lun })
const unplaced = ({ target: _target, lun: _lun, ...rest }: ExtraLun) => rest

/** A daemon that is to survive what is done to it. A controller is attacked a few times, then the next one. */
export class Bed {
  readonly #daemons: readonly Daemon[]
  #idle: Footprint
  #attacks = 0
  #log = ''

  private constructor(daemons: readonly Daemon[], idle: Footprint) {
    this.#daemons = daemons
    this.#idle = idle
    const { child } = daemons[0]!
    this.#log = child.stderr
    child.process.stderr?.on('data', (text: string) => {
      this.#log += text
    })
  }

  static async start(t: Teardown, options: BedOptions = {}): Promise<Bed> {
    const count = Math.ceil((options.attacks ?? 1) / ATTACKS_PER_CONTROLLER)
    const extra = (options.luns ?? []).map((lun, i) => ({ id: `extra${i}`, ...lun }))
    const controllers = Array.from({ length: count }, (_, i) => ({
      id: `vm${i}`,
      'num-queues': 4,
      luns: [{ id: `mem${i}`, target: 0, lun: 0 }, ...(i === 0 ? extra.map(placeOf) : [])],
    }))
    const luns = [
      ...controllers.map((_, i) => ({ id: `mem${i}`, driver: 'memory', size: '4M' })),
      ...extra.map(unplaced),
    ]
    const daemons = await startConfigured(t, { luns, controllers })
    // The first connection and the first scrape open what stays open.
    await serve(daemons[0]!.socketPath)
    await daemons[0]!.metrics()
    return new Bed(daemons, footprint(daemons[0]!))
  }

  /** The daemon, with the socket that is to be attacked now. */
  get daemon(): Daemon {
    const daemon = this.#daemons[Math.floor(this.#attacks / ATTACKS_PER_CONTROLLER)]
    if (daemon === undefined) throw new Error(`a bed for ${this.#attacks} attacks`)
    return daemon
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
      this.#attacks++
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
    await writeAndRead(initiator, 0, Math.floor(Math.random() * 256))
  } finally {
    await initiator.close()
  }
}

/** Writes eight blocks of LUN 0 and reads them back, on one request queue. Throws when they differ. */
export async function writeAndRead(initiator: Initiator, queue: number, seed: number): Promise<void> {
  await initiator.ready(0, 0, { queue })
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
