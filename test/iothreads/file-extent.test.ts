import { constants } from 'node:fs'
import { close, ERRNO, openFd, raw } from 'memfd-mmap'
import t from 'tap'
import { fileExtent } from '../../iothreads/file-extent.js'
import { SegmentRig } from '../support/iothreads/request-with.js'
import { imageFd } from '../support/iothreads/units.js'

const KIB = 1024

for (const place of ['file', 'tmpfs'] as const) {
  t.test(`holes and data of a file: ${place}`, async (t) => {
    const rig = new SegmentRig(t, 4096)
    rig.bytes.fill(1)
    const fd = imageFd(t, 0, place)
    raw.ftruncate(fd, 256 * KIB)
    t.equal(fileExtent(fd, 0, 256 * KIB, false), 256 * KIB)
    t.equal(fileExtent(fd, 0, 256 * KIB, true), 0)
    raw.pwrite(fd, rig.address, 4096, 64 * KIB)
    t.equal(fileExtent(fd, 0, 256 * KIB, false), 64 * KIB)
    t.equal(fileExtent(fd, 1024, 4096, false), 4096, 'no more than was asked for')
    t.equal(fileExtent(fd, 64 * KIB, 512, true), 512)
    t.equal(fileExtent(fd, 64 * KIB, 256 * KIB, true), 4096)
    t.equal(fileExtent(fd, 64 * KIB, 4096, false), 0)
    t.equal(fileExtent(fd, 68 * KIB, 8 * KIB, false), 8 * KIB, 'the hole at the end')
    t.equal(fileExtent(fd, 300 * KIB, 4096, false), 4096, 'behind the end')
    t.equal(fileExtent(fd, 300 * KIB, 4096, true), 0)
  })
}

t.test('what cannot tell is all data; other errors are results', async (t) => {
  const fd = openFd('/proc/self/status', constants.O_RDONLY)
  t.teardown(() => close(fd))
  t.equal(fileExtent(fd, 0, 512, true), 512)
  t.equal(fileExtent(fd, 0, 512, false), 0)
  t.equal(fileExtent(-1, 0, 512, true), -ERRNO.EBADF)
})
