/**
 * The checked configuration that the daemon runs by: every default filled in, every reference resolved, every image
 * looked at. Plain data, structured-cloneable.
 */

import type { TargetPort } from '../scsi/index.js'

export interface IothreadConfig {
  readonly id: string
  /** CPU numbers that the thread may run on; absent: no restriction. */
  readonly cpus?: readonly number[]
  /** Longest busy-polling before sleeping, ns; 0: never poll. */
  readonly pollMaxNs: number
  /** Factor by which the polling time grows; 0: the default (2). */
  readonly pollGrow: number
  /** Divisor by which the polling time shrinks; 0: back to none at once. */
  readonly pollShrink: number
}

export type Driver = 'file' | 'memory' | 'null'

export interface LunConfig {
  readonly id: string
  readonly driver: Driver
  /** Resolved path of the image: absolute, without symbolic links. Driver `file` only. */
  readonly path?: string
  /** Bytes, a multiple of `blockSize`, never 0. */
  readonly size: number
  readonly readOnly: boolean
  readonly discard: 'unmap' | 'ignore'
  readonly blockSize: 512 | 4096
  readonly physicalBlockSize: number
  /** VPD 80h, at most 36 printable ASCII characters. */
  readonly serial: string
  /** NAA designator as 16 hex digits in lower case, without 0x. */
  readonly wwn: string
  readonly vendor: string
  readonly product: string
  readonly revision: string
  /** VPD B1h MEDIUM ROTATION RATE: 0 not reported, 1 non-rotating, else rpm. */
  readonly rotationRate: number
  readonly removable: boolean
  readonly writeCache: boolean
  /** Driver `null` only: each request takes this long. */
  readonly delayUs: number
  readonly locking: 'auto' | 'off'
  /** Driver `file` with discard=unmap only: bytes of free space at which initiators are told that it gets short; absent: never. */
  readonly spaceThreshold?: number
  /** Several controllers may write to it, and other processes to its image. */
  readonly shareRw: boolean
}

/** A LUN's place in a controller. */
export interface LunPlace {
  /** Names a LunConfig. */
  readonly id: string
  /** 0..255 */
  readonly target: number
  /** 0..16383 */
  readonly lun: number
  readonly readOnly: boolean
}

export interface ControllerConfig {
  readonly id: string
  /** Its target port; absent: that of a controller which is alone. */
  readonly port?: TargetPort
  /** Where to listen, as given (a relative path may fit where its absolute form is too long). */
  readonly socketPath?: string
  /** An inherited descriptor instead: a listening or a connected socket. */
  readonly fd?: number
  /** Permission bits of the socket; absent: what the umask leaves. */
  readonly socketMode?: number
  readonly socketGid?: number
  /** Request queues, 1..254. */
  readonly numQueues: number
  /** Request queue -> index into `iothreads`; `numQueues` entries. */
  readonly queueToIothread: readonly number[]
  /** VHOST_USER_PROTOCOL_F_CONFIG is offered. */
  readonly configSpace: boolean
  readonly luns: readonly LunPlace[]
}

export type ListenAddress = { readonly host: string; readonly port: number } | { readonly path: string }

export const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'] as const
export type LogLevel = (typeof LOG_LEVELS)[number]
export const LOG_FORMATS = ['text', 'json'] as const
export type LogFormat = (typeof LOG_FORMATS)[number]

export interface DaemonConfig {
  readonly iothreads: readonly IothreadConfig[]
  readonly luns: readonly LunConfig[]
  readonly controllers: readonly ControllerConfig[]
  /** Absent: no metrics. */
  readonly metricsListen?: ListenAddress
  /** Where the control API listens, as given. Absent: there is none. */
  readonly controlSocket?: string
  /** Where what outlives the daemon is kept, as given. Absent: nothing is. */
  readonly stateDir?: string
  readonly stopTimeoutSeconds: number
  /** A live daemon at the control socket is asked to leave, and its sockets are taken. Then `controlSocket` is there, and no `fd`. */
  readonly takeover?: boolean
  readonly logLevel: LogLevel
  readonly logFormat: LogFormat
}
