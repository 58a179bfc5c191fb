// Touches a view after its mapping has been retired or unmapped, or after the file has shrunk. Prints what it saw, if it lives to.
import { createMemfd, ftruncate, Mapping, pread, raw } from 'memfd-mmap'

const LENGTH = 3 * 4096
const fd = createMemfd('stale', LENGTH)
const mapping = Mapping.map({ fd, length: LENGTH })
const bytes = new Uint8Array(mapping.view())
bytes.fill(0xa5)

switch (process.argv[2]) {
  case 'retire':
    mapping.retire()
    ftruncate(fd, 0)
    break
  case 'unmap':
    mapping.unmap()
    break
  case 'truncate':
    ftruncate(fd, 0)
    break
}

const zeros = bytes.every((byte) => byte === 0)
bytes[LENGTH - 1] = 1
const other = createMemfd('source', 4096)
const inFlight = pread(other, mapping.address, 4096, 0)
raw.close(fd)
process.stdout.write(JSON.stringify({ zeros, last: bytes[LENGTH - 1], inFlight }))
