import { Mapping } from 'memfd-mmap'
import { type ChainStyle, inflightStride, PACKED_BASE_NEW } from 'vhost-user-protocol-ts'
import {
  type Command,
  IoThread,
  type IoThreadOptions,
  type QueueSpec,
  QueueStatistics,
} from '../../../iothreads/index.js'
import type { ForwardedTask, MediumFault, RingFault } from '../../../iothreads/iothread.js'
import type { UnitSpec } from '../../../iothreads/messages.js'
import { within } from '../deadline.js'
import type { Teardown } from '../teardown.js'
import { Queue } from '../vhost/queue.js'
import type { ScsiCommand, ScsiResult } from '../vhost/scsi-request.js'
import { SharedMemory } from '../vhost/shared-memory.js'
import { ChainLayout, type Layout } from './chain-layout.js'
import { mappedRegions } from './queue-rig.js'

export const DEADLINE = 20_000

export interface StartedThread {
  readonly thread: IoThread
  readonly faults: RingFault[]
  readonly mediumFaults: MediumFault[]
  readonly failures: Error[]
  /** Commands that the main thread is to conclude, and those of them that nobody wants any more. */
  readonly forwarded: ForwardedTask[]
  readonly recalled: ForwardedTask[]
  /** Resolves with the next failure. */
  failed(): Promise<Error>
}

/** Starts an IOThread that ends with the test. */
export async function startThread(t: Teardown, o: Partial<IoThreadOptions> = {}): Promise<StartedThread> {
  const faults: RingFault[] = []
  const mediumFaults: MediumFault[] = []
  const failures: Error[] = []
  const forwarded: ForwardedTask[] = []
  const recalled: ForwardedTask[] = []
  let failed: (error: Error) => void = () => {}
  const failure = new Promise<Error>((resolve) => {
    failed = resolve
  })
  const thread = await within(
    DEADLINE,
    'start of an IOThread',
    IoThread.start(
      { id: 'io0', ...o },
      {
        fault: (fault) => faults.push(fault),
        mediumFault: (fault) => mediumFaults.push(fault),
        forwarded: (task) => forwarded.push(task),
        recalled: (task) => recalled.push(task),
        failed: (error) => {
          failures.push(error)
          failed(error)
        },
      },
    ),
  )
  t.teardown(() => within(DEADLINE, 'end of an IOThread', thread.stop()))
  return { thread, faults, mediumFaults, failures, forwarded, recalled, failed: () => failure }
}

export interface IoRigOptions {
  readonly units: readonly UnitSpec[]
  /** IOThread of each queue. Default: one queue. */
  readonly threads: readonly StartedThread[]
  readonly ringSize?: number
  readonly eventIdx?: boolean
  readonly indirectEntries?: number
  /** Guest memory, bytes. Default: 64 MiB. */
  readonly memory?: number
  /** Whether it cannot be cut off. Default: true. */
  readonly sealed?: boolean
  /** Whether the IOThreads have it mapped below 2^31 (see Mapping). Default: false. */
  readonly low?: boolean
  readonly controller?: string
  /** What is in flight is noted. Default: false. */
  readonly inflight?: boolean
}

/** A controller on IOThreads, driven directly: guest memory, rings and their driver's side in this process. */
export class IoRig {
  readonly controller: string
  readonly memory: SharedMemory
  readonly queues: readonly Queue[]
  readonly statistics: readonly QueueStatistics[]
  readonly threads: readonly StartedThread[]
  /** Guest memory as the IOThreads see it. */
  readonly #host: Mapping
  readonly #o: IoRigOptions
  /** Guest addresses and lengths of the queues' inflight regions. */
  readonly #regions: readonly { address: number; length: number }[] = []
  readonly #areas: { layout: ChainLayout; bytes: number }[] = []

  private constructor(o: IoRigOptions) {
    this.#o = o
    this.controller = o.controller ?? 'scsi0'
    this.threads = o.threads
    this.memory = new SharedMemory([
      { guestAddress: 0x10_0000, size: o.memory ?? 64 * 2 ** 20, sealed: o.sealed ?? true },
    ])
    const [region] = this.memory.regions
    this.#host = Mapping.map({ fd: region!.fd, length: region!.size, low: o.low ?? false })
    const size = o.ringSize ?? 256
    const ring = { size, eventIdx: o.eventIdx ?? true, indirectEntries: o.indirectEntries ?? 16, region: 0 }
    this.queues = o.threads.map((_, i) => new Queue(2 + i, this.memory, ring))
    const length = inflightStride(this.queues[0]!.driver.packed ? 'packed' : 'split', size)
    if (o.inflight === true)
      this.#regions = this.queues.map(() => ({ address: this.memory.allocate(length, 64).address, length }))
    this.statistics = o.threads.map(() => new QueueStatistics(o.units.length))
  }

  /** Attaches the controller to its IOThreads, gives them its memory, and starts its queues. */
  static async start(t: Teardown, o: IoRigOptions): Promise<IoRig> {
    const rig = new IoRig(o)
    t.teardown(() => rig.#close())
    await rig.tellAll({ type: 'attachController', controller: rig.controller, units: o.units })
    await rig.shareMemory()
    for (let i = 0; i < rig.queues.length; i++) await rig.startQueue(i)
    return rig
  }

  async shareMemory(): Promise<void> {
    const [region, ...more] = mappedRegions(this.memory)
    const regions = [{ ...region!, hostAddress: this.#host.address }, ...more]
    await this.tellAll({ type: 'setMemory', controller: this.controller, regions })
  }

  send(i: number, command: Command): Promise<number> {
    return within(DEADLINE, `${command.type} of queue ${i}`, this.threads[i]!.thread.send(command))
  }

  /** Has each IOThread, once, carry out a command; the sum of the answers. */
  async tellAll(command: Command): Promise<number> {
    const distinct = [...new Set(this.threads)]
    const answers = await within(
      DEADLINE,
      command.type,
      Promise.all(distinct.map(({ thread }) => thread.send(command))),
    )
    return answers.reduce((sum, answer) => sum + answer, 0)
  }

  queueSpec(i: number, base?: number): QueueSpec {
    const { index, driver, kickFd, callFd, errFd } = this.queues[i]!
    const { guestAddress } = this.memory.regions[0]!
    const host = (address: number): number => this.#host.address + address - guestAddress
    return {
      index,
      packed: driver.packed,
      size: driver.size,
      base: base ?? (driver.packed ? PACKED_BASE_NEW : 0),
      desc: host(driver.descAddress),
      avail: host(driver.availAddress),
      used: host(driver.usedAddress),
      eventIdx: this.#o.eventIdx ?? true,
      indirect: true,
      kickFd,
      callFd,
      errFd,
      statistics: this.statistics[i]!.memory,
      ...(this.#regions.length > 0 && {
        inflight: { ...this.#regions[i]!, address: host(this.#regions[i]!.address), entries: driver.size },
      }),
    }
  }

  async startQueue(i: number, base?: number, o: Partial<QueueSpec> = {}): Promise<void> {
    const queue = { ...this.queueSpec(i, base), ...o }
    await this.send(i, { type: 'startQueue', controller: this.controller, queue })
  }

  /** Stops a queue; its next available index. */
  stopQueue(i: number): Promise<number> {
    return this.send(i, { type: 'stopQueue', controller: this.controller, index: this.queues[i]!.index })
  }

  /** Puts a command into a ring and shows it. Settles with the answer; rejects when bytes beside the buffers changed. */
  submit(i: number, command: ScsiCommand, layout?: Layout, style?: ChainStyle): Promise<ScsiResult> {
    const queue = this.queues[i]!
    const data = (command.dataOut?.length ?? 0) + (command.dataIn ?? 0)
    const gaps = (layout?.gaps ?? [0]).reduce((most, gap) => Math.max(most, gap), 0)
    const buffers = (layout?.out?.length ?? 1) + (layout?.in?.length ?? 1) + 2
    const area = this.#area(256 + data + gaps * buffers)
    const laid = area.layout.lay(command, layout)
    const { done } = queue.add(laid.segments, style)
    queue.publish()
    const answered = done.then((usedLength) => {
      const result = laid.result(usedLength)
      const stray = laid.strayBytes()
      this.#areas.push(area)
      if (stray > 0) throw new Error(`${stray} bytes between the buffers were written`)
      return result
    })
    // Some are left unanswered on purpose.
    answered.catch(() => {})
    return answered
  }

  #area(needed: number): { layout: ChainLayout; bytes: number } {
    const bytes = 2 ** Math.ceil(Math.log2(needed))
    const found = this.#areas.findIndex((area) => area.bytes === bytes)
    if (found >= 0) return this.#areas.splice(found, 1)[0]!
    return { layout: new ChainLayout(this.memory.allocate(bytes, 64)), bytes }
  }

  run(i: number, command: ScsiCommand, layout?: Layout, style?: ChainStyle): Promise<ScsiResult> {
    return within(DEADLINE, `command ${command.cdb[0]}`, this.submit(i, command, layout, style))
  }

  async #close(): Promise<void> {
    for (const [i, { thread }] of this.threads.entries()) {
      const { index } = this.queues[i]!
      // Some tests have stopped them, or ended the thread.
      await thread.send({ type: 'stopQueue', controller: this.controller, index }).catch(() => {})
    }
    for (const { thread } of new Set(this.threads)) {
      await thread.send({ type: 'detachController', controller: this.controller }).catch(() => {})
    }
    for (const queue of this.queues) queue.close()
    this.memory.close()
    this.#host.unmap()
  }
}
