import t from 'tap'
import { FaultLog } from '../../daemon/fault-log.js'
import type { Log } from '../../daemon/log.js'
import { LOG_RANGE_FAULT } from '../../iothreads/index.js'

interface Line {
  readonly level: string
  readonly controller: string | undefined
  readonly fields: Record<string, unknown>
  readonly message: string
}

/** A log that keeps its lines. */
function record(lines: Line[], controller?: string): Log {
  const at = (level: string) => (fields: Record<string, unknown>, message: string) => {
    lines.push({ level, controller, fields, message })
  }
  const log = {
    ...{ debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') },
    child: (bindings: { controller: string }) => record(lines, bindings.controller),
  }
  return log as unknown as Log
}

function faultLog() {
  const lines: Line[] = []
  const counted: string[] = []
  const metrics = { countFault: (code: string) => counted.push(code) }
  const lunAt = (controller: string, place: number) => `${controller}-lun${place}`
  return { lines, counted, faults: new FaultLog(record(lines), metrics, lunAt) }
}

t.test('each line names its controller', async (t) => {
  const { lines, faults } = faultLog()
  faults.of('vm1').info({}, 'hello')
  t.match(lines, [{ controller: 'vm1', message: 'hello' }])
  t.equal(faults.of('vm1'), faults.of('vm1'))
  t.not(faults.of('vm1'), faults.of('vm2'))
})

t.test('a guest that floods the log silences itself, not the others', async (t) => {
  const { lines, faults } = faultLog()
  for (let i = 0; i < 1000; i++) {
    faults.ringFault({ controller: 'vm1', index: 2, code: 'VUS_X', fatal: false, suppressed: 0 })
  }
  const flood = lines.length
  t.ok(flood > 0 && flood < 100, `${flood} lines`)
  faults.ringFault({ controller: 'vm2', index: 3, code: 'VUS_Y', fatal: true, suppressed: 0 })
  t.match(lines.slice(flood), [
    { level: 'warn', controller: 'vm2', fields: { ring: 3, code: 'VUS_Y' }, message: /^ring 3: the ring is broken/ },
  ])
})

t.test("what IOThreads have counted is not counted again; the main loop's rings are", async (t) => {
  const { lines, counted, faults } = faultLog()
  faults.ringFault({ controller: 'vm', index: 2, code: 'VUS_A', fatal: false, suppressed: 7 })
  t.same(counted, [])
  faults.mainRingFault('vm', 0, 'VUS_B')
  t.same(counted, ['VUS_B'])
  t.match(lines, [
    { fields: { suppressed: 7 }, message: 'ring 2: a bad request was turned away' },
    { fields: { ring: 0 }, message: /dead until it is set up anew/ },
  ])
})

t.test(
  'reports of a session: faults are counted, and do not keep the end of a connection from being said',
  async (t) => {
    const { lines, counted, faults } = faultLog()
    const reporter = faults.reporter('vm')
    reporter.event('debug', 'VUS_RESET', 'reset')
    reporter.event('info', 'VUS_BYE', 'bye')
    t.same(counted, [])
    for (let i = 0; i < 200; i++) reporter.event('warn', 'VUS_ODD', 'odd')
    t.ok(lines.filter(({ level }) => level === 'warn').length < 100)
    t.equal(counted.filter((code) => code === 'VUS_ODD').length, 200)
    reporter.event('error', 'VUS_BAD', 'bad', { request: 5 })
    t.match(lines.at(-1), { controller: 'vm', fields: { code: 'VUS_BAD', request: 5 }, message: 'bad' })
    t.same(counted.slice(200), ['VUS_BAD'])
  },
)

t.test('a front end that connects again and again floods neither the log nor silences that of others', async (t) => {
  const { lines, counted, faults } = faultLog()
  for (let i = 0; i < 1000; i++) {
    faults.connected('vm1', '/run/a.sock')
    faults.reporter('vm1').event('error', 'VUS_BAD', 'bad')
  }
  const flood = lines.length
  t.ok(flood > 50 && flood < 200, `${flood} lines`)
  t.match(lines.slice(0, 2), [
    { level: 'info', message: 'front end connected on /run/a.sock' },
    { level: 'error', fields: { code: 'VUS_BAD', suppressed: 0 } },
  ])
  t.equal(counted.length, 1000)
  faults.connected('vm2', '/run/b.sock')
  faults.ringFault({ controller: 'vm1', index: 2, code: 'VUS_X', fatal: false, suppressed: 0 })
  t.match(lines.slice(flood), [{ controller: 'vm2' }, { controller: 'vm1', fields: { code: 'VUS_X' } }])
})

t.test('a flush that failed names its LUN and the way out', async (t) => {
  const { lines, counted, faults } = faultLog()
  faults.mediumFault({ controller: 'vm', unit: 1, errno: 5 })
  t.same(counted, ['VUS_FLUSH_FAILED'])
  t.match(lines, [
    {
      level: 'error',
      controller: 'vm',
      fields: { lun: 'vm-lun1' },
      message: /^lun "vm-lun1": a flush failed \(.*\), what was written may be lost: .* "ctl lun-clear-fault vm-lun1"$/,
    },
  ])
})

t.test('writes beyond the dirty log break no ring', async (t) => {
  const { lines, counted, faults } = faultLog()
  faults.mainRingFault('vm1', 0, LOG_RANGE_FAULT)
  faults.ringFault({ controller: 'vm2', index: 3, code: LOG_RANGE_FAULT, fatal: false, suppressed: 0 })
  t.same(counted, [LOG_RANGE_FAULT], 'IOThreads count their own')
  t.equal(lines.length, 2)
  for (const { message } of lines) t.match(message, /no bit for/)
})
