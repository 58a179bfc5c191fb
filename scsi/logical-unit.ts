import { commandsOf } from './cdb-table.js'
import type { CommandTable } from './command-table.js'
import { PERIPHERAL, standardInquiry } from './inquiry/standard.js'
import { diskVpdPages } from './inquiry/vpd.js'
import type { TargetPort } from './target-port.js'
import { checkUnitConfig, type UnitConfig } from './unit-config.js'
import type { UnitState } from './unit-state.js'

/**
 * A disk: a direct access block device (SBC-3) without its medium, which is the transport's. Each thread has a
 * LogicalUnit of its own over the same UnitState.
 */
export class LogicalUnit {
  readonly config: UnitConfig
  readonly state: UnitState
  readonly blockSize: number
  readonly commands: CommandTable
  /** Prepared answers to INQUIRY. */
  readonly standardInquiry: Uint8Array
  readonly vpdPages: ReadonlyMap<number, Uint8Array>

  /**
   * @param port through which initiators see the unit here; null: nobody asks
   * @throws UnitConfigError
   */
  constructor(config: UnitConfig, state: UnitState, port: TargetPort | null = null) {
    checkUnitConfig(config)
    this.config = config
    this.state = state
    this.blockSize = config.blockSize
    this.commands = commandsOf(config)
    this.standardInquiry = standardInquiry(PERIPHERAL.DISK, config)
    this.vpdPages = diskVpdPages(config, port)
  }
}
