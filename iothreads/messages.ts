import type { MappedRegion, SharedArea } from 'vhost-user-protocol-ts'
import type { TargetPort, TaskAnswer, UnitConfig } from '../scsi/index.js'
import type { MediumJob } from './medium-job.js'

/** What the main thread asks of an IOThread. Plain data, sent through a MessagePort; shared memory goes along by reference. */

/** Where a logical unit's blocks are. Descriptors and mappings are the main thread's, valid while the controller is attached. */
export type Medium =
  | {
      readonly kind: 'file'
      readonly fd: number /** System calls in the IOThread instead of io_uring. */
      readonly inline: boolean
    }
  | { readonly kind: 'memory'; readonly fd: number; readonly address: number }
  | { readonly kind: 'null'; readonly delayNs: number }

export interface UnitSpec {
  /** What statistics name it by; absent: its place in the list. */
  readonly place?: number
  readonly target: number
  readonly lun: number
  readonly readOnly: boolean
  readonly config: UnitConfig
  /** The controller's; absent: nobody asks for it. */
  readonly port?: TargetPort
  /** UnitState's memory. */
  readonly state: SharedArrayBuffer
  /** This nexus's words: NEXUS_WORD. */
  readonly attention: SharedArrayBuffer
  readonly medium: Medium
  /** The memory of the unit's write gate, one for all nexuses (see createGate). */
  readonly gate: SharedArrayBuffer
}

/** Where a ring's writes to guest memory are logged while a migration is under way. */
export interface RingLog {
  /** The bitmap (DirtyLog). */
  readonly area: SharedArea
  /** The guest address of the used ring (with RING_PACKED: of the device event suppression structure); null: it is not logged. */
  readonly used: number | null
}

/** A ring with its parts at host addresses, checked to lie in guest memory. */
export interface HostRing {
  /** Virtqueue index (request queue + 2). */
  readonly index: number
  /** VIRTIO_F_RING_PACKED was negotiated. */
  readonly packed: boolean
  readonly size: number
  readonly base: number
  readonly desc: number
  readonly avail: number
  readonly used: number
  readonly eventIdx: boolean
  readonly indirect: boolean
  /** -1: none; the ring is looked at by itself. */
  readonly kickFd: number
  readonly callFd: number
  readonly errFd: number
  /** Absent: nothing is logged. */
  readonly log?: RingLog
  /** Where to note what is in flight; absent: nowhere. */
  readonly inflight?: InflightArea
}

/** A ring's region of the inflight buffer, mapped by the main thread. */
export interface InflightArea extends SharedArea {
  /** Requests that it has room for. */
  readonly entries: number
}

/** What an IOThread needs to serve a request queue. */
export interface QueueSpec extends HostRing {
  /** QueueStatistics' memory. */
  readonly statistics: SharedArrayBuffer
}

/** Which of a controller's requests a task management function is for. */
export interface TaskFilter {
  readonly target: number
  readonly lun: number
  /** Two signed halves, low first; null: whatever it is. */
  readonly tag: readonly [number, number] | null
}

export type Command =
  /** Makes a controller's units known; before any of its queues. */
  | { readonly type: 'attachController'; readonly controller: string; readonly units: readonly UnitSpec[] }
  /** Forgets a controller without queues. */
  | { readonly type: 'detachController'; readonly controller: string }
  /** Replaces a controller's units. No queue of the controller is started. */
  | { readonly type: 'setUnits'; readonly controller: string; readonly units: readonly UnitSpec[] }
  /** Gives the guest memory that queues started from now on use. No queue of the controller is started. */
  | { readonly type: 'setMemory'; readonly controller: string; readonly regions: readonly MappedRegion[] }
  /** Answers 0, or INFLIGHT_UNUSABLE: then the queue is not started. */
  | { readonly type: 'startQueue'; readonly controller: string; readonly queue: QueueSpec }
  /** Stops fetching, lets what is in flight end, forgets the queue; answers the next available index. */
  | { readonly type: 'stopQueue'; readonly controller: string; readonly index: number }
  | { readonly type: 'setCall'; readonly controller: string; readonly index: number; readonly callFd: number }
  | { readonly type: 'setErr'; readonly controller: string; readonly index: number; readonly errFd: number }
  /** Ends requests early; answers how many, after they are answered. */
  | ({ readonly type: 'cancel'; readonly controller: string; readonly reason: number } & TaskFilter)
  /** Answers how many requests match, without touching them. */
  | ({ readonly type: 'query'; readonly controller: string } & TaskFilter)
  /** Answers a forwarded command. */
  | {
      readonly type: 'conclude'
      readonly controller: string
      readonly ticket: number
      readonly answer: TaskAnswer
    }
  /** Answers when the commands of a unit that have been started by now have ended; not those that were forwarded. */
  | { readonly type: 'fence'; readonly controller: string; readonly target: number; readonly lun: number }
  /** Works on media, between requests; answers the result: a number >= 0, or -errno. */
  | { readonly type: 'job'; readonly job: MediumJob }
  /** Ends what a job holds. */
  | { readonly type: 'letGo'; readonly key: number }
  /** Ends the thread, after its jobs. It has no queues. */
  | { readonly type: 'stop' }

/**
 * Why the doorbell rings, bits. EXIT: the process is about to exit, and joins its threads. GATE: what waits at a unit's write gate may be
 * let in.
 */
export const BELL = { SILENT: 0, MESSAGES: 1, EXIT: 2, GATE: 4 } as const

/**
 * Words of a thread that all threads share. BELL: BELL bits, set before the doorbell is rung, for a thread that is polling. ASKED: how many
 * signs of life have been asked for. ANSWERED: what ASKED was when the loop last saw the bell. DOORBELL: the number of the eventfd.
 */
export const BELL_WORD = { BELL: 0, ASKED: 1, ANSWERED: 2, DOORBELL: 3, COUNT: 4 } as const

export type CommandMessage = Command & { readonly id: number }

/** What an IOThread tells the main thread. */
export type Report =
  | { readonly type: 'ready'; readonly tid: number; readonly engine: string; readonly engineFault: string | null }
  | { readonly type: 'reply'; readonly id: number; readonly value: number }
  | { readonly type: 'error'; readonly id: number; readonly message: string }
  /** A fault that a guest caused. `suppressed`: how many of the same queue were not told since the last one. */
  | {
      readonly type: 'fault'
      readonly controller: string
      readonly index: number
      readonly code: string
      readonly fatal: boolean
      readonly suppressed: number
    }
  /** A command for the unit's server. `ticket`: what the controller's queues in this thread know it by. */
  | ({ readonly type: 'forward' } & ForwardedCommand)
  /** A forwarded command is to end early: at once if it has not begun. It is answered nevertheless. */
  | ({ readonly type: 'recall' } & ForwardedName)
  /** A flush of a LUN (what statistics name it by) has failed; the LUN refuses writes and flushes from now on. */
  | { readonly type: 'mediumFault'; readonly controller: string; readonly unit: number; readonly errno: number }

/** What an IOThread knows a forwarded command by. */
export interface ForwardedName {
  readonly controller: string
  readonly target: number
  readonly lun: number
  readonly ticket: number
}

export interface ForwardedCommand extends ForwardedName {
  /** CDB_BYTES. */
  readonly cdb: Uint8Array<ArrayBuffer>
  /** The parameter list, as long as the CDB says. */
  readonly parameters: Uint8Array<ArrayBuffer>
  /** Bytes that the initiator's buffer holds. */
  readonly dataInLength: number
}

export interface WorkerOptions {
  readonly name: string
  readonly cpus: readonly number[] | null
  readonly pollMaxNs: number
  readonly pollGrow: number
  readonly pollShrink: number
  /** 'auto': io_uring, or epoll where that is refused. */
  readonly engine: 'auto' | 'io_uring' | 'epoll'
  /** Eventfd that wakes the thread; the main thread's. */
  readonly doorbell: number
  /** Holds the words of BELL_WORD, each of 32 bits, from byte `bellOffset` (absent: 0) on. */
  readonly bell: SharedArrayBuffer
  readonly bellOffset?: number
  /** ThreadStatistics' memory. */
  readonly statistics: SharedArrayBuffer
}

/** What a worker starts with. */
export interface WorkerData extends WorkerOptions {
  /** The thread's row of the doorbells, whose memory is `bell`. */
  readonly row: number
}
