import { CDB_SIZE, CMD_REQUEST, decodeLun, WLUN_REPORT_LUNS } from 'vhost-user-protocol-ts'
import type { Request } from './request.js'

/** Opcode of CDBs longer than 16 bytes. */
const VARIABLE_LENGTH = 0x7f

const { LUN, TAG, CDB } = CMD_REQUEST

/** Decoded `lun` of a request whose LUN field has no meaning here. */
export const TARGET_NONE = -1

/** Copies what matters of a request's readable part (virtio 1.3 5.6.6.1), at byte `at` of `view`, into the request. */
export function decodeRequestHeader(request: Request, view: DataView, at: number): void {
  const address = view.getUint32(at + LUN, true)
  const lun = decodeLun(address & 0xff, (address >>> 8) & 0xff, (address >>> 16) & 0xff, address >>> 24)
  request.lun = lun
  request.target = lun === WLUN_REPORT_LUNS || lun < 0 ? TARGET_NONE : (address >>> 8) & 0xff
  request.tagLow = view.getInt32(at + TAG, true)
  request.tagHigh = view.getInt32(at + TAG + 4, true)
  const cdb = request.task.cdb
  const from = at + CDB
  cdb.setInt32(0, view.getInt32(from, true), true)
  cdb.setInt32(4, view.getInt32(from + 4, true), true)
  cdb.setInt32(8, view.getInt32(from + 8, true), true)
  cdb.setInt32(12, view.getInt32(from + 12, true), true)
  // Only commands of variable length reach beyond 16 bytes (SPC-4 4.2.2).
  if (cdb.getUint8(0) === VARIABLE_LENGTH) {
    for (let i = 16; i < CDB_SIZE; i += 4) cdb.setInt32(i, view.getInt32(from + i, true), true)
  }
}
