/** Looks at the space that thin provisioned images have left, and has initiators told when it gets short. */
import { stat, statfs } from 'node:fs/promises'
import { EVENT_TYPE } from 'vhost-user-protocol-ts'
import { changeSpace, SPACE_THRESHOLD_SENSE } from '../scsi/index.js'
import type { Log } from './log.js'
import type { Lun } from './lun.js'
import { eventReason } from './lun-refresh.js'

/** Bytes of a file system, as statfs has them for those who are not root; and what an image takes of it. */
export type SpaceOf = (path: string) => Promise<{ readonly available: number; readonly used: number }>

/** st_blocks counts these, whatever the file system's blocks are. */
const STAT_BLOCK = 512
const INTERVAL_MS = 2000

/** Asks on Node's own threads: a file system that hangs holds up nobody. */
async function spaceOf(path: string): Promise<{ available: number; used: number }> {
  const [system, image] = await Promise.all([statfs(path), stat(path)])
  return { available: system.bavail * system.bsize, used: image.blocks * STAT_BLOCK }
}

/** LUNs with a threshold (LunConfig.spaceThreshold), looked at every now and then. */
export class SpaceWatch {
  readonly #luns: readonly Lun[]
  readonly #log: Log
  readonly #spaceOf: SpaceOf
  readonly #reached = new Set<Lun>()
  #timer: NodeJS.Timeout | undefined
  #looks = false

  constructor(luns: Iterable<Lun>, log: Log, space: SpaceOf = spaceOf) {
    this.#luns = [...luns].filter(({ config }) => config.spaceThreshold !== undefined)
    this.#log = log
    this.#spaceOf = space
  }

  /** Looks at once, and from now on. */
  start(intervalMs = INTERVAL_MS): void {
    if (this.#luns.length === 0) return
    void this.look()
    this.#timer = setInterval(() => void this.look(), intervalMs)
    this.#timer.unref()
  }

  stop(): void {
    clearInterval(this.#timer)
  }

  /** Resolves when all have been looked at; at once where an earlier look has not ended. */
  async look(): Promise<void> {
    if (this.#looks) return
    this.#looks = true
    await Promise.all(this.#luns.map((lun) => this.#lookAt(lun)))
    this.#looks = false
  }

  async #lookAt(lun: Lun): Promise<void> {
    const { id, path, spaceThreshold: threshold = 0 } = lun.config
    let space: Awaited<ReturnType<SpaceOf>>
    try {
      space = await this.#spaceOf(path!)
    } catch (error) {
      this.#log.debug({ lun: id, error }, `lun "${id}": nobody knows what space is left`)
      return
    }
    const was = this.#reached.has(lun)
    const { reached, told } = changeSpace(lun.state, { ...space, threshold }, was, lun.nexuses)
    if (reached) this.#reached.add(lun)
    else this.#reached.delete(lun)
    if (!told) return
    this.#log.warn(
      { lun: id, available: space.available, threshold },
      `lun "${id}": ${path}: ${space.available} bytes are left on its file system`,
    )
    for (const nexus of lun.nexuses) nexus.announce(EVENT_TYPE.PARAM_CHANGE, eventReason(SPACE_THRESHOLD_SENSE))
  }
}
