import t from 'tap'
import { Scratch } from '../../../scsi/scratch.js'
import {
  COPY_STATUS,
  CopyResults,
  writeCopyStatus,
  writeFailureDetails,
} from '../../../scsi/third-party-copy/copy-results.js'
import { hex, normal } from '../support/hex.js'

const written = (write: (into: Scratch) => void): string => {
  const into = new Scratch().begin()
  write(into)
  return hex(into.bytes.subarray(0, into.length))
}

t.test('one copy by each identifier', async (t) => {
  const results = new CopyResults()
  const first = results.begin(1)!
  t.match(first, { status: COPY_STATUS.IN_PROGRESS, segments: 0, bytes: 0 })
  t.equal(results.begin(1), undefined)
  t.ok(results.begin(2))
  results.discard(1)
  t.equal(results.get(1), first, 'one that is under way is not forgotten')
  first.status = COPY_STATUS.COMPLETE
  t.not(results.begin(1), first, 'the identifier is free again')
  results.get(1)!.status = COPY_STATUS.FAILED
  results.discardAll()
  t.equal(results.get(1), undefined)
  t.ok(results.get(2))
  results.get(2)!.status = COPY_STATUS.COMPLETE
  results.discard(2)
  t.equal(results.get(2), undefined)
})

t.test('parameter data', async (t) => {
  const result = { status: COPY_STATUS.COMPLETE, segments: 3, bytes: 5000, scsiStatus: 0, sense: new Uint8Array(0) }
  t.equal(
    written((into) => writeCopyStatus(into, result)),
    normal('00 00 00 08 01 00 03 01 00 00 00 04'),
  )
  t.equal(
    written((into) => writeCopyStatus(into, { ...result, bytes: 2 ** 50 })),
    normal('00 00 00 08 01 00 03 01 ff*4'),
  )
  t.equal(
    written((into) => writeFailureDetails(into, result)),
    normal('00*4'),
  )
  const failed = { ...result, status: COPY_STATUS.FAILED, scsiStatus: 2, sense: Uint8Array.of(0x70, 0, 0x0a) }
  t.equal(
    written((into) => writeFailureDetails(into, failed)),
    normal('00 00 00 3b 00*52 02 00 00 03 70 00 0a'),
  )
})
