import { createMemfd, raw } from 'memfd-mmap'
import t from 'tap'
import { DeviceError } from 'vhost-user-protocol-ts'
import { MigrationLog } from '../../daemon/migration-log.js'

t.test('a log is in force while it is there and LOG_ALL is on', async (t) => {
  const fd = createMemfd('log', 8192)
  t.teardown(() => raw.close(fd))
  const log = new MigrationLog()
  t.equal(log.area, undefined)
  log.enabled = true
  t.equal(log.area, undefined, 'there is none')
  const first = MigrationLog.map({ fd, size: 4096, offset: 0 })
  t.equal(log.replace(first), undefined)
  t.equal(log.area, first)
  log.enabled = false
  t.equal(log.area, undefined, 'it is not to be used')
  log.enabled = true
  const second = MigrationLog.map({ fd, size: 4096, offset: 4096 })
  t.equal(log.replace(second), first)
  t.equal(log.area, second)
  first.unmap()
  log.replace(undefined)?.unmap()
  t.equal(log.area, undefined)
})

t.test('logs that cannot be', async (t) => {
  const fd = createMemfd('log', 4096)
  t.teardown(() => raw.close(fd))
  const cases: [size: number, offset: number, code: string][] = [
    [0, 0, 'VUS_AREA_RANGE'],
    [7, 0, 'VUS_LOG_SIZE'],
    [4095, 0, 'VUS_LOG_SIZE'],
    [2 ** 50 + 4, 0, 'VUS_AREA_RANGE'],
    [8, 4, 'VUS_AREA_RANGE'],
    [4100, 0, 'VUS_AREA_FILE_SIZE'],
    [4096, 8, 'VUS_AREA_FILE_SIZE'],
  ]
  for (const [size, offset, code] of cases) {
    const refusal = t.throws(() => MigrationLog.map({ fd, size, offset }), DeviceError, `${size} at ${offset}`)
    t.match(refusal, { code })
  }
})
