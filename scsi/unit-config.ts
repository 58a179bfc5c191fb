/**
 * What a logical unit is, as far as it does not change while it is there. Plain values, so that it can be sent to a
 * thread.
 */
export interface UnitConfig {
  /** Bytes of a logical block: 512 or 4096. */
  readonly blockSize: number
  /** Bytes of a physical block: blockSize times a power of two. */
  readonly physicalBlockSize: number
  /** T10 VENDOR IDENTIFICATION, at most 8 printable ASCII characters. */
  readonly vendor: string
  /** PRODUCT IDENTIFICATION, at most 16. */
  readonly product: string
  /** PRODUCT REVISION LEVEL, at most 4. */
  readonly revision: string
  /** Unit serial number, at most 36; '': none. */
  readonly serial: string
  /** NAA designator, 16 hex digits without 0x; '': none. */
  readonly wwn: string
  /** MEDIUM ROTATION RATE (SBC-3 6.6.2): 0 not reported, 1 non-rotating, else per minute. */
  readonly rotationRate: number
  readonly removable: boolean
  /**
   * Whether the unit is thin provisioned: UNMAP and the UNMAP bit of WRITE SAME are there, and unmapped blocks read as
   * zeros.
   */
  readonly discard: boolean
  /** Bytes that deallocation works in; a multiple of blockSize. Default: the larger of blockSize and 4096. */
  readonly discardGranularity?: number
  /**
   * Whether WRITE ATOMIC is there: the medium can show a write as a whole or not at all, also after a failure. Default: false.
   */
  readonly atomicWrites?: boolean
  /** Bytes of free space at which initiators are told that it gets short (UnitState.space). Absent: they never are. */
  readonly spaceThreshold?: number
  /** Nothing writes to this unit, whatever its state says. */
  readonly readOnly: boolean
}

/** A UnitConfig that cannot be. */
export class UnitConfigError extends Error {
  readonly code = 'VUS_UNIT_CONFIG'
  /** The member at fault. */
  readonly member: keyof UnitConfig

  constructor(member: keyof UnitConfig, message: string) {
    super(`${member}: ${message}`)
    this.name = 'UnitConfigError'
    this.member = member
  }
}

/** Longest identity strings (SPC-4 6.6.2; the serial number as QEMU has it). */
export const IDENTITY_LENGTH = { vendor: 8, product: 16, revision: 4, serial: 36 } as const

/** @throws UnitConfigError */
export function checkUnitConfig(config: UnitConfig): void {
  const { blockSize, physicalBlockSize } = config
  if (blockSize !== 512 && blockSize !== 4096) throw new UnitConfigError('blockSize', `${blockSize} is not 512 or 4096`)
  const perPhysical = Math.log2(physicalBlockSize / blockSize)
  if (!(Number.isInteger(perPhysical) && perPhysical >= 0 && perPhysical <= 15)) {
    throw new UnitConfigError('physicalBlockSize', `${physicalBlockSize} is not ${blockSize} times a power of two`)
  }
  for (const member of ['vendor', 'product', 'revision', 'serial'] as const) {
    const longest = IDENTITY_LENGTH[member]
    if (config[member].length > longest) throw new UnitConfigError(member, `longer than ${longest} characters`)
    if (!/^[\x20-\x7e]*$/.test(config[member])) throw new UnitConfigError(member, 'not printable ASCII')
  }
  if (!/^([0-9a-fA-F]{16})?$/.test(config.wwn)) throw new UnitConfigError('wwn', 'not 16 hex digits')
  const { rotationRate } = config
  if (
    !(
      rotationRate === 0 ||
      rotationRate === 1 ||
      (rotationRate >= 0x401 && rotationRate <= 0xfffe && Number.isInteger(rotationRate))
    )
  ) {
    throw new UnitConfigError('rotationRate', `${rotationRate} is not 0, 1 or 1025 to 65534`)
  }
  const granularity = discardGranularity(config)
  if (!(Number.isInteger(granularity / blockSize) && granularity > 0 && granularity / blockSize < 2 ** 31)) {
    throw new UnitConfigError('discardGranularity', `${granularity} is no multiple of ${blockSize}`)
  }
}

/** Bytes that deallocation works in. */
export function discardGranularity(config: UnitConfig): number {
  return config.discardGranularity ?? Math.max(config.blockSize, 4096)
}
