import {
  type ChainSegment,
  type ChainStyle,
  GuestMemory,
  INFLIGHT_UNUSABLE,
  inflightStride,
  type MappedRegion,
  PACKED_BASE_NEW,
} from 'vhost-user-protocol-ts'
import { BouncePool } from '../../../iothreads/bounce-pool.js'
import { Doorbells } from '../../../iothreads/doorbells.js'
import type { Driver } from '../../../iothreads/drivers/driver.js'
import { Forwarding } from '../../../iothreads/forwarding.js'
import { takeOver } from '../../../iothreads/inflight.js'
import type { ForwardedCommand, ForwardedName, HostRing, InflightArea, UnitSpec } from '../../../iothreads/messages.js'
import { openVirtqueue } from '../../../iothreads/open-virtqueue.js'
import type { Request } from '../../../iothreads/request.js'
import { RequestQueue } from '../../../iothreads/request-queue.js'
import { RequestReader } from '../../../iothreads/request-reader.js'
import { RequestTable } from '../../../iothreads/request-table.js'
import { ResponseWriter } from '../../../iothreads/response-writer.js'
import { QueueStatistics } from '../../../iothreads/statistics.js'
import { ThreadStatistics } from '../../../iothreads/thread-statistics.js'
import { UnitMap } from '../../../iothreads/unit-map.js'
import { WriteGates } from '../../../iothreads/write-gates.js'
import { LogicalUnit, Nexus, Target, UnitState } from '../../../scsi/index.js'
import { ringKind } from '../ring-kind.js'
import type { Teardown } from '../teardown.js'
import { addChain, createRing, type RingDriver, ringBytes } from '../vhost/ring-driver.js'
import type { ScsiCommand, ScsiResult } from '../vhost/scsi-request.js'
import { type RegionOptions, SharedMemory } from '../vhost/shared-memory.js'
import { ChainLayout, type LaidOut, type Layout } from './chain-layout.js'

export interface QueueRigOptions {
  readonly units: readonly (Omit<UnitSpec, 'medium'> & { readonly driver: Driver })[]
  readonly size?: number
  readonly regions?: readonly RegionOptions[]
  readonly eventIdx?: boolean
  readonly indirectAllowed?: boolean
  readonly indirectEntries?: number
  readonly slot?: number
  readonly packed?: boolean
  /** What is in flight is noted, so that `restart` can serve it again. */
  readonly inflight?: boolean
}

/** The regions of a driver's memory as the device has them mapped (in one process: at the same addresses). */
export function mappedRegions(memory: SharedMemory): MappedRegion[] {
  return memory.regions.map(({ guestAddress, size, userAddress, mapping }) => ({
    guestAddress,
    size,
    userAddress,
    hostAddress: mapping.address,
  }))
}

/** A RequestQueue on this thread with the driver's side of its ring, without an event loop: the caller is the loop. */
export class QueueRig {
  readonly memory: SharedMemory
  readonly guest: GuestMemory
  readonly ring: RingDriver
  table: RequestTable
  readonly units = new UnitMap()
  readonly pool = new BouncePool()
  /** Of this thread's row, the first one of `doorbells`. */
  readonly doorbells = new Doorbells()
  readonly gates = new WriteGates<Request>(this.doorbells, 0, (request) => this.queue.execution.admitted(request))
  readonly statistics: QueueStatistics
  readonly threadStatistics = new ThreadStatistics()
  queue: RequestQueue
  /** Faults that were told of. */
  readonly faults: { code: string; fatal: boolean }[] = []
  /** What was forwarded, and what of it was recalled. */
  readonly forwarded: ForwardedCommand[] = []
  readonly recalled: ForwardedName[] = []
  readonly forwarding = new Forwarding('rig', {
    forward: (command) => this.forwarded.push(command),
    recall: (name) => this.recalled.push(name),
  })
  readonly mediumFaults: { unit: number; errno: number }[] = []
  readonly #heads: Int32Array
  readonly #inFlight = new Map<number, LaidOut | null>()
  readonly #areaBytes = 2 ** 20
  readonly spec: HostRing
  readonly #slot: number

  constructor(t: Teardown, o: QueueRigOptions) {
    this.memory = new SharedMemory(o.regions ?? [{ guestAddress: 0x1_0000, size: 32 * 2 ** 20 }])
    this.guest = new GuestMemory(mappedRegions(this.memory))
    const size = o.size ?? 64
    const entries = o.indirectEntries ?? 32
    const packed = o.packed ?? ringKind.packed
    const area = this.memory.allocate(ringBytes(packed, size, entries), 4096)
    const { buffer, byteOffset, address } = area
    const eventIdx = o.eventIdx ?? true
    this.ring = createRing(packed, {
      size,
      buffer,
      byteOffset,
      guestAddress: address,
      eventIdx,
      indirectEntries: entries,
    })
    this.#heads = new Int32Array(size)
    const host = (guestAddress: number): number => this.guest.translate(guestAddress, 1)
    this.spec = {
      index: 2,
      packed,
      size,
      base: packed ? PACKED_BASE_NEW : 0,
      desc: host(this.ring.descAddress),
      avail: host(this.ring.availAddress),
      used: host(this.ring.usedAddress),
      eventIdx,
      indirect: o.indirectAllowed ?? true,
      kickFd: -1,
      callFd: -1,
      errFd: -1,
      ...(o.inflight === true && { inflight: this.#inflightArea(packed, size) }),
    }
    this.#slot = o.slot ?? 0
    this.doorbells.rows = 1
    this.statistics = new QueueStatistics(o.units.length)
    this.#bind(o.units)
    this.table = new RequestTable(this.#slot, size)
    this.queue = this.#open()
    t.teardown(() => {
      this.table.release()
      this.pool.release()
      this.memory.close()
    })
  }

  #inflightArea(packed: boolean, entries: number): InflightArea {
    const length = inflightStride(packed ? 'packed' : 'split', entries)
    return { address: this.guest.translate(this.memory.allocate(length, 64).address, length), length, entries }
  }

  #open(): RequestQueue {
    const spec = this.spec
    const takeover = takeOver(spec)
    if (takeover === INFLIGHT_UNUSABLE) throw new Error('the region is unusable')
    const virtqueue = openVirtqueue(spec, this.guest, takeover?.base, null)
    return new RequestQueue({
      slot: this.#slot,
      virtqueue,
      memory: this.guest,
      table: this.table,
      reader: new RequestReader(this.guest, virtqueue, this.table, spec.indirect),
      recoveryReader: takeover && new RequestReader(this.guest, takeover.ring ?? virtqueue, this.table, spec.indirect),
      takeover,
      writer: new ResponseWriter(this.guest),
      units: this.units,
      pool: this.pool,
      statistics: this.statistics,
      threadStatistics: this.threadStatistics,
      forwarding: this.forwarding,
      callFd: -1,
      errFd: -1,
      fault: (code, fatal) => this.faults.push({ code, fatal }),
      mediumFault: (unit, errno) => this.mediumFaults.push({ unit, errno }),
    })
  }

  /** Forgets the queue as if its process had been killed, and starts another one on the ring. */
  restart(): void {
    const { size } = this.ring
    this.table.release()
    this.table = new RequestTable(this.#slot, size)
    this.queue = this.#open()
  }

  #bind(units: QueueRigOptions['units']): void {
    const targets = new Map<number, Target>()
    units.forEach((spec, index) => {
      const { target: id, lun, driver } = spec
      const unit = new LogicalUnit(spec.config, new UnitState(spec.state))
      const nexus = new Nexus(unit, id, lun, new Int32Array(spec.attention), spec.readOnly)
      const target = targets.get(id) ?? new Target(id)
      if (!targets.has(id)) this.units.addTarget(id, target)
      targets.set(id, target)
      target.add(nexus)
      const gate = this.gates.open(spec.gate, spec.config.atomicWrites === true)
      this.units.addUnit({ index, target: id, lun, nexus, driver, gate })
    })
  }

  /** Puts a command into the ring, in memory of its own; its head. */
  submit(command: ScsiCommand, layout?: Layout, style?: ChainStyle, region = 0): number {
    const data = (command.dataOut?.length ?? 0) + (command.dataIn ?? 0)
    const bytes = Math.min(this.#areaBytes, 4096 + 2 * data)
    const laid = new ChainLayout(this.memory.allocate(bytes, 64, region)).lay(command, layout)
    const head = addChain(this.ring, laid.segments, style)
    this.#inFlight.set(head, laid)
    return head
  }

  /** Puts any chain into the ring; its head. */
  submitChain(segments: readonly ChainSegment[], style?: ChainStyle): number {
    const head = addChain(this.ring, segments, style)
    this.#inFlight.set(head, null)
    return head
  }

  /** Reads a chain with a reader of the caller's, past the queue: what it answers. A broken chain stays in the ring. */
  read(reader: RequestReader, request: Request, segments: readonly ChainSegment[], style?: ChainStyle): number {
    const head = addChain(this.ring, segments, style)
    this.ring.publish()
    const { virtqueue } = this.queue
    if (virtqueue.available() !== 1) throw new Error('other chains are in the ring')
    const outcome = reader.read(virtqueue.fetch(), request)
    if (outcome < 0) return outcome
    if ((this.ring.packed ? request.head & 0xffff : request.head) !== head) throw new Error(`head ${request.head}`)
    virtqueue.advance(request.head)
    virtqueue.push(request.head, 0)
    virtqueue.publish()
    this.ring.reap(this.#heads)
    this.ring.release(head)
    return outcome
  }

  /** Has the queue fetch, start and answer what it can. */
  turn(): void {
    this.ring.publish()
    while (this.queue.drain() > 0);
    this.gates.run()
    this.queue.publish()
  }

  /** What has been answered since the last time: by head, in order. */
  answers(): { head: number; usedLength: number; result: ScsiResult | null; stray: number }[] {
    const count = this.ring.reap(this.#heads)
    return [...this.#heads.subarray(0, count)].map((head) => {
      const usedLength = this.ring.usedLength[head]!
      const laid = this.#inFlight.get(head) ?? null
      this.#inFlight.delete(head)
      this.ring.release(head)
      return {
        head,
        usedLength,
        result: laid === null ? null : laid.result(usedLength),
        stray: laid === null ? 0 : laid.strayBytes(),
      }
    })
  }

  /** Runs one command whose driver ends everything at once. */
  run(command: ScsiCommand, layout?: Layout, style?: ChainStyle): ScsiResult {
    const head = this.submit(command, layout, style)
    this.turn()
    const [answer, ...more] = this.answers()
    if (answer === undefined || answer.result === null || more.length > 0 || answer.head !== head) {
      throw new Error('not answered, or others were')
    }
    if (answer.stray > 0) throw new Error(`${answer.stray} bytes between the buffers were written`)
    return answer.result
  }
}
