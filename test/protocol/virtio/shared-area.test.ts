import { close, createEventfd, createMemfd, Mapping, viewMemory } from 'memfd-mmap'
import t from 'tap'
import { DeviceError, MappedArea } from 'vhost-user-protocol-ts'
import { openDescriptors } from '../../memfd-mmap/descriptors.js'

t.test('a part of a file', async (t) => {
  const fd = createMemfd('area', 8192)
  t.teardown(() => close(fd))
  const whole = Mapping.map({ fd, length: 8192 })
  const bytes = new Uint8Array(whole.view())
  const before = openDescriptors()
  const area = new MappedArea(fd, 4104, 100, 'a log')
  t.equal(area.length, 100)
  t.equal(openDescriptors(), before, 'the descriptor is not kept')
  bytes[4104] = 7
  bytes[4203] = 8
  const view = new Uint8Array(viewMemory(area.address, area.length))
  t.same([view[0], view[99]], [7, 8])
  view[1] = 9
  t.equal(bytes[4105], 9)
  area.unmap()
  whole.unmap()
})

t.test('what cannot be', async (t) => {
  const fd = createMemfd('area', 4096)
  const eventfd = createEventfd()
  t.teardown(() => {
    close(fd)
    close(eventfd)
  })
  const cases: [what: string, code: string, fd: number, offset: number, length: number][] = [
    ['nothing', 'VUS_AREA_RANGE', fd, 0, 0],
    ['more than one view', 'VUS_AREA_RANGE', fd, 0, 2 ** 30 + 1],
    ['an odd place', 'VUS_AREA_RANGE', fd, 4, 8],
    ['more than the file has', 'VUS_AREA_FILE_SIZE', fd, 0, 4097],
    ['an offset beyond the file', 'VUS_AREA_FILE_SIZE', fd, 2 ** 52, 8],
    ['no file', 'VUS_AREA_FILE_SIZE', eventfd, 0, 8],
    ['no descriptor', 'VUS_AREA_MAP', -1, 0, 8],
  ]
  for (const [what, code, descriptor, offset, length] of cases) {
    t.throws(() => new MappedArea(descriptor, offset, length, 'a log'), { code, message: /^a log: / }, what)
  }
  t.throws(() => new MappedArea(fd, 0, 0, 'a log'), DeviceError)
})
