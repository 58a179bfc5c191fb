/** Where a CDB says how many bytes of data-in there may be, written down once more, by the name of the command. */
const ALLOCATION_LENGTH: Readonly<Record<string, (cdb: DataView) => number>> = {
  'REQUEST SENSE': (cdb) => cdb.getUint8(4),
  INQUIRY: (cdb) => cdb.getUint16(3),
  'MODE SENSE(6)': (cdb) => cdb.getUint8(4),
  'MODE SENSE(10)': (cdb) => cdb.getUint16(7),
  'READ CAPACITY(10)': () => 8,
  'READ CAPACITY(16)': (cdb) => cdb.getUint32(10),
  'GET LBA STATUS': (cdb) => cdb.getUint32(10),
  'RECEIVE DIAGNOSTIC RESULTS': (cdb) => cdb.getUint16(3),
  'READ BUFFER(10)': (cdb) => cdb.getUint32(5) & 0xffffff,
  'READ BUFFER(16)': (cdb) => cdb.getUint32(10),
  'READ DEFECT DATA(10)': (cdb) => cdb.getUint16(7),
  'READ DEFECT DATA(12)': (cdb) => cdb.getUint32(6),
  'LOG SENSE': (cdb) => cdb.getUint16(7),
  'PERSISTENT RESERVE IN, READ KEYS': (cdb) => cdb.getUint16(7),
  'PERSISTENT RESERVE IN, READ RESERVATION': (cdb) => cdb.getUint16(7),
  'PERSISTENT RESERVE IN, REPORT CAPABILITIES': (cdb) => cdb.getUint16(7),
  'PERSISTENT RESERVE IN, READ FULL STATUS': (cdb) => cdb.getUint16(7),
  'RECEIVE COPY STATUS(LID1)': (cdb) => cdb.getUint32(10),
  'RECEIVE COPY OPERATING PARAMETERS': (cdb) => cdb.getUint32(10),
  'RECEIVE COPY FAILURE DETAILS(LID1)': (cdb) => cdb.getUint32(10),
  'REPORT LUNS': (cdb) => cdb.getUint32(6),
  'REPORT TARGET PORT GROUPS': (cdb) => cdb.getUint32(6),
  'REPORT SUPPORTED OPERATION CODES': (cdb) => cdb.getUint32(6),
  'REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS': (cdb) => cdb.getUint32(6),
}

/** How many blocks a CDB reads. */
const BLOCKS: Readonly<Record<string, (cdb: DataView) => number>> = {
  'READ(6)': (cdb) => cdb.getUint8(4) || 256,
  'READ(10)': (cdb) => cdb.getUint16(7),
  'READ(12)': (cdb) => cdb.getUint32(6),
  'READ(16)': (cdb) => cdb.getUint32(10),
}

/** The most bytes of data-in that a command may move; undefined: it has none. */
export function mostDataIn(command: string, cdb: DataView, blockSize: number): number | undefined {
  const blocks = BLOCKS[command]
  return blocks === undefined ? ALLOCATION_LENGTH[command]?.(cdb) : blocks(cdb) * blockSize
}
