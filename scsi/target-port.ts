/** A SCSI target port (SAM-5 4.6.5): what one controller is. */
export interface TargetPort {
  /** RELATIVE TARGET PORT IDENTIFIER, 1 to 65535, among the ports of the SCSI device. */
  readonly relative: number
  /** NAA designator: 16 hex digits. */
  readonly name: string
}

/** The one target port group: all ports are alike to all logical units. */
export const TARGET_PORT_GROUP = 1
