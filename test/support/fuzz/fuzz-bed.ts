import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Test } from 'tap'
import { CHAIN_FAULTS } from 'vhost-user-protocol-ts'
import { startConfigured } from '../configured-daemon.js'
import type { Daemon } from '../daemon.js'
import { reported, within } from '../deadline.js'
import { type Footprint, footprint, settledFootprint } from '../footprint.js'
import { sparseImage } from '../image.js'
import type { Random } from '../random.js'
import type { Teardown } from '../teardown.js'
import { tempDir } from '../temp-dir.js'
import { ask } from '../unix-http.js'
import { Initiator } from '../vhost/initiator.js'

/** Longer than anything may take that a daemon still does. */
export const PATIENCE = 60_000

const MIB = 2 ** 20
/** What a heap that leaks nothing may grow by nevertheless: code, feedback, statistics of more rings. */
const HEAP_SLACK = 8 * MIB
/** Of the process since it is warm: most of that are the heaps of its threads, which grow and shrink as V8 likes. */
const PRIVATE_SLACK = 64 * MIB
/** Lines that the daemon may write for each attacked controller: at first, and a second. */
const LOG_BURST = 200
const LOG_RATE = 10

const BLOCK = 512
const BLOCKS = 8

/** A guest whose disk works, if the daemon does. Writes something new each time and reads it back. */
class HonestGuest {
  readonly #initiator: Initiator
  readonly #queues: number
  #rounds = 0

  constructor(initiator: Initiator, queues: number) {
    this.#initiator = initiator
    this.#queues = queues
  }

  static async connect(socketPath: string, queues: number): Promise<HonestGuest> {
    const initiator = await Initiator.connect(socketPath, { queues, deadline: PATIENCE })
    return new HonestGuest(initiator, queues)
  }

  /** INQUIRY, and the unit attentions of a fresh connection. */
  async introduce(): Promise<void> {
    const inquiry = await this.#initiator.scsi({ cdb: [0x12, 0, 0, 0, 36, 0], dataIn: 36 })
    if (inquiry.response !== 0 || inquiry.status !== 0 || (inquiry.data[0]! & 0x1f) !== 0) {
      throw new Error(`an honest INQUIRY is answered with ${JSON.stringify(inquiry)}`)
    }
    for (let queue = 0; queue < this.#queues; queue++) await this.#initiator.ready(0, 0, { queue })
  }

  /** One write and one read on each of its queues. */
  async round(): Promise<void> {
    const round = this.#rounds++
    await Promise.all(Array.from({ length: this.#queues }, (_, queue) => this.#round(queue, round)))
  }

  async #round(queue: number, round: number): Promise<void> {
    const block = BLOCKS * (queue + this.#queues * (round % 16))
    const bytes = new Uint8Array(BLOCK * BLOCKS).fill(round)
    new DataView(bytes.buffer).setUint32(0, round)
    bytes[4] = queue
    const cdb = (opcode: number) => [opcode, 0, 0, 0, block >> 8, block & 0xff, 0, 0, BLOCKS, 0]
    const written = await this.#initiator.scsi({ cdb: cdb(0x2a), dataOut: bytes }, { queue })
    const read = await this.#initiator.scsi({ cdb: cdb(0x28), dataIn: bytes.length }, { queue })
    for (const { response, status } of [written, read]) {
      if (response !== 0 || status !== 0) throw new Error(`an honest request: response ${response}, status ${status}`)
    }
    if (Buffer.compare(read.data, bytes) !== 0) throw new Error('an honest guest does not read what it has written')
  }

  close(): Promise<void> {
    return this.#initiator.close()
  }
}

/** Faults by their code. */
export type Faults = Readonly<Record<string, number>>

/**
 * A daemon of two IOThreads and two controllers: one that is attacked, one with an honest guest on either thread, which has to be
 * served all the time. Its mappings are guarded.
 */
export class FuzzBed {
  readonly socketPath: string
  readonly #victim: Daemon
  readonly #honest: HonestGuest
  readonly #idle: Footprint
  readonly #control: string
  readonly #heap: number
  #private: number
  readonly #started = performance.now()
  #lines = 0
  #lunPresent = true

  private constructor(victim: Daemon, honest: HonestGuest, control: string, heap: number) {
    this.#control = control
    this.socketPath = victim.socketPath
    this.#victim = victim
    this.#honest = honest
    this.#heap = heap
    this.#idle = footprint(victim)
    this.#private = this.#privateBytes()
    victim.child.process.stderr?.on('data', (text: string) => {
      this.#lines += text.split('\n').length - 1
    })
  }

  static async start(t: Teardown): Promise<FuzzBed> {
    const mapping = [{ iothread: 'a' }, { iothread: 'b' }]
    const units: Readonly<Record<string, unknown>>[] = [
      { driver: 'memory', size: '1M' },
      { driver: 'null', size: '8M' },
      { path: sparseImage(tempDir(t), 'disk.img', 1) },
      { driver: 'memory', size: '1M', 'read-only': true },
      { driver: 'null', size: '8M', 'delay-us': 300 },
    ]
    const control = join(tempDir(t), 'control.sock')
    const config = {
      control: { socket: control },
      iothreads: [{ id: 'a' }, { id: 'b' }],
      luns: [
        ...['mine', 'theirs'].map((id) => ({ id, driver: 'memory', size: '1M' })),
        ...units.map((unit, i) => ({ id: `unit${i}`, ...unit })),
      ],
      controllers: [
        {
          id: 'attacked',
          'num-queues': 4,
          'config-space': true,
          'iothread-vq-mapping': mapping,
          luns: [{ id: 'theirs', target: 0, lun: 0 }, ...units.map((_, lun) => ({ id: `unit${lun}`, target: 1, lun }))],
        },
        { id: 'honest', 'num-queues': 2, 'iothread-vq-mapping': mapping, luns: [{ id: 'mine', target: 0, lun: 0 }] },
      ],
    }
    const guards = new URL('guarded.js', import.meta.url).href
    const [victim, other] = await startConfigured(t, config, ['--expose-gc', `--import=${guards}`])
    const honest = await HonestGuest.connect(other!.socketPath, 2)
    t.teardown(() => honest.close())
    await honest.introduce()
    // The first connection, rings and scrapes open what stays open, and compile what is run.
    for (let i = 0; i < 3; i++) await serve(victim!.socketPath)
    await victim!.metrics()
    for (const present of [false, true]) await changeLun(control, present)
    return new FuzzBed(victim!, honest, control, await heapOf(victim!))
  }

  /** The honest guest is served. When this resolves, IOThreads have looked at all rings that were kicked before. */
  round(): Promise<void> {
    return this.explained(this.#honest.round())
  }

  /** What an operator may do meanwhile: takes a LUN from the attacked guest or gives it back, or moves one of its queues. */
  disturb(random: Random): Promise<void> {
    const queue = random.below(4)
    const body = { iothread: random.pick(['a', 'b']) }
    if (random.once(2)) return this.explained(change(this.#control, 'PUT', `queues/${queue}`, body))
    this.#lunPresent = !this.#lunPresent
    return this.explained(changeLun(this.#control, this.#lunPresent))
  }

  /** A fresh connection to the attacked controller finds its disk. Nobody else may be connected there. */
  serves(): Promise<void> {
    return this.explained(within(PATIENCE, 'an honest connection', serve(this.socketPath)))
  }

  /** Requests that were served, faulty ones included. */
  async requests(): Promise<number> {
    const metrics = await this.#victim.metrics()
    const served = metrics.sum('vhost_user_scsi_requests_total', { controller: 'attacked' })
    const faulty = Object.entries(await this.faults()).filter(([code]) => isOfRequest(code))
    return faulty.reduce((sum, [, count]) => sum + count, served)
  }

  async faults(): Promise<Faults> {
    const samples = (await this.#victim.metrics()).select('vhost_user_scsi_faults_total')
    return Object.fromEntries(
      samples.filter(({ value }) => value > 0).map(({ labels, value }) => [labels.kind!, value]),
    )
  }

  /** The attacked daemon has seen all sorts of things by now: what it needs for them is no leak. */
  warm(): void {
    this.#private = this.#privateBytes()
  }

  /** Nothing is left behind, and the daemon ends in good order. */
  async finish(t: Test): Promise<void> {
    await this.serves()
    await this.round()
    const seconds = (performance.now() - this.#started) / 1000
    const left = await settledFootprint(this.#victim, this.#idle)
    t.ok(left.files.length <= this.#idle.files.length, 'no descriptor is left over', { left, idle: this.#idle })
    t.ok(left.mappings.length <= this.#idle.mappings.length, 'no mapping is left over', { left, idle: this.#idle })
    const heap = (await heapOf(this.#victim)) - this.#heap
    t.ok(heap < HEAP_SLACK, `the heap has grown by ${mebibytes(heap)} MiB`)
    const grown = this.#privateBytes() - this.#private
    t.ok(grown < PRIVATE_SLACK, `private memory has grown by ${mebibytes(grown)} MiB`)
    const lines = this.#lines
    t.ok(lines < LOG_BURST + LOG_RATE * seconds, `${lines} log lines in ${seconds.toFixed(1)} s`)
    t.comment(JSON.stringify(await this.faults()))
    await this.#honest.close()
    t.same(await this.#victim.stop(), { code: 0, signal: null })
  }

  #privateBytes(): number {
    const status = readFileSync(`/proc/${this.#victim.pid}/status`, 'utf8')
    return Number(/^RssAnon:\s+(\d+) kB/m.exec(status)?.[1]) * 1024
  }

  /** With what the daemon has said, if it fails. */
  explained<T>(promise: Promise<T>): Promise<T> {
    return reported(promise, () => this.#victim.child.report())
  }
}

const mebibytes = (bytes: number): string => (bytes / MIB).toFixed(1)

const CHAIN_CODES = Object.values(CHAIN_FAULTS)
const isOfRequest = (code: string): boolean => code.startsWith('VUS_REQUEST_') || CHAIN_CODES.includes(code)

async function change(control: string, method: string, what: string, body?: unknown): Promise<void> {
  const { status, body: answer } = await ask(control, method, `/v1/controllers/attacked/${what}`, body)
  if (status >= 300) throw new Error(`${method} ${what}: ${status} ${answer}`)
}

function changeLun(control: string, present: boolean): Promise<void> {
  return present
    ? change(control, 'POST', 'luns', { id: 'unit1', target: 1, lun: 1 })
    : change(control, 'DELETE', 'luns/unit1')
}

async function serve(socketPath: string): Promise<void> {
  const guest = await HonestGuest.connect(socketPath, 4)
  try {
    await guest.introduce()
    await guest.round()
  } finally {
    await guest.close()
  }
}

/** Bytes of the main thread's heap after a garbage collection: see guarded.ts. */
async function heapOf({ child }: Daemon): Promise<number> {
  const lines = child.stdout.split('\n').length
  const next = new RegExp(`^(?:.*\\n){${lines - 1}}heap of (\\d+)\\n`)
  child.process.kill('SIGUSR2')
  const [, bytes] = await child.output('stdout', next, PATIENCE)
  return Number(bytes)
}
