import t from 'tap'
import { type IothreadSource, Metrics, type QueueSource } from '../../daemon/metrics.js'
import { FAULT_CODES } from '../../iothreads/faults.js'
import { OPERATION, QUEUE_FIELD, QueueStatistics } from '../../iothreads/statistics.js'
import { THREAD_FIELD, ThreadStatistics } from '../../iothreads/thread-statistics.js'
import { Metrics as Scrape } from '../support/prometheus.js'

const PREFIX = 'vhost_user_scsi_'

async function scrape(metrics: Metrics): Promise<Scrape> {
  return new Scrape(await metrics.text())
}

function queue(overrides: Partial<QueueSource> = {}): QueueSource {
  const luns = overrides.luns ?? ['root', 'data']
  return {
    controller: 'vm',
    queue: 0,
    iothread: 'io0',
    tid: 4242,
    luns,
    statistics: new QueueStatistics(luns.length),
    ...overrides,
  }
}

function iothread(overrides: Partial<IothreadSource> = {}): IothreadSource {
  const heartbeat = { answered: 0, missed: 0, ageSeconds: 0, silent: false }
  return { id: 'io0', tid: 4242, engine: 'io_uring', statistics: new ThreadStatistics(), heartbeat, ...overrides }
}

function metricsOf(queues: readonly QueueSource[], iothreads: readonly IothreadSource[] = [], version = '1'): Metrics {
  return new Metrics({ queues: () => queues, iothreads: () => iothreads }, version)
}

t.test('build, process and event counters', async (t) => {
  const metrics = metricsOf([], [], '1.2.3')
  const empty = await scrape(metrics)
  t.equal(empty.sum(`${PREFIX}build_info`, { version: '1.2.3', node: process.version }), 1)
  t.equal(empty.select(`${PREFIX}connections_total`).length, 1, 'there from the start')
  t.ok(empty.sum('process_resident_memory_bytes') > 0)
  metrics.countConnection()
  metrics.countConnection()
  metrics.countFault('VUS_RING')
  metrics.countFault('VUS_RING')
  metrics.countFault('ECONNRESET')
  const after = await scrape(metrics)
  t.equal(after.sum(`${PREFIX}connections_total`), 2)
  t.equal(after.sum(`${PREFIX}faults_total`, { kind: 'VUS_RING' }), 2)
  t.equal(after.sum(`${PREFIX}faults_total`, { kind: 'ECONNRESET' }), 1)
})

t.test('fault kinds are bounded', async (t) => {
  const metrics = metricsOf([])
  for (let i = 0; i < 500; i++) metrics.countFault(`VUS_${i}`)
  metrics.countFault('made up "by a peer"\n')
  metrics.countFault('VUS_0')
  const result = await scrape(metrics)
  t.equal(result.select(`${PREFIX}faults_total`).length, 64 + 1 + FAULT_CODES.length)
  t.equal(result.sum(`${PREFIX}faults_total`, { kind: 'other' }), 437)
  t.equal(result.sum(`${PREFIX}faults_total`, { kind: 'VUS_0' }), 2)
  t.equal(result.sum(`${PREFIX}faults_total`), 502)
})

t.test('faults that IOThreads counted are added', async (t) => {
  const queues = [queue(), queue({ queue: 1 })]
  const metrics = metricsOf(queues)
  const kind = FAULT_CODES[0]!
  t.equal((await scrape(metrics)).select(`${PREFIX}faults_total`, { kind }).length, 1, 'there from the start')
  for (const { statistics } of queues) statistics.addFault(kind)
  metrics.countFault(kind)
  const result = await scrape(metrics)
  t.equal(result.sum(`${PREFIX}faults_total`, { kind }), 3)
  t.equal(result.sum(`${PREFIX}faults_total`), 3)
})

t.test('request queues, as the shared counters stand at the scrape', async (t) => {
  const first = queue()
  const second = queue({ queue: 1, iothread: 'io1', tid: 4243 })
  const queues = [first, second]
  const metrics = metricsOf(queues)
  const before = await scrape(metrics)
  t.equal(before.select(`${PREFIX}requests_total`).length, 2 * 2 * OPERATION.COUNT, 'every label set, at 0')
  t.equal(before.sum(`${PREFIX}requests_total`), 0)

  first.statistics.count(0, OPERATION.READ, 4096, false)
  first.statistics.count(0, OPERATION.READ, 4096, true)
  first.statistics.count(1, OPERATION.WRITE, 512, false)
  second.statistics.count(0, OPERATION.FLUSH, 0, false)
  second.statistics.add(QUEUE_FIELD.KICKS)
  const after = await scrape(metrics)
  const one = { controller: 'vm', queue: '0', lun: 'root', op: 'read' }
  t.equal(after.sum(`${PREFIX}requests_total`, one), 2)
  t.equal(after.sum(`${PREFIX}errors_total`, one), 1)
  t.equal(after.sum(`${PREFIX}bytes_total`, one), 8192)
  t.equal(after.sum(`${PREFIX}bytes_total`, { lun: 'data', op: 'write' }), 512)
  t.equal(after.sum(`${PREFIX}requests_total`, { queue: '1', op: 'flush' }), 1)
  t.equal(after.sum(`${PREFIX}requests_total`), 4)
  t.equal(after.select(`${PREFIX}bytes_total`, { op: 'flush' }).length, 0, 'a flush has no bytes')
  t.equal(after.sum(`${PREFIX}queue_info`, { queue: '1', iothread: 'io1', tid: '4243' }), 1)
  t.equal(after.sum(`${PREFIX}queue_kicks_total`, { queue: '1' }), 1)
  t.equal((await scrape(metrics)).sum(`${PREFIX}requests_total`), 4, 'a scrape adds nothing')

  queues.pop()
  const fewer = await scrape(metrics)
  t.equal(fewer.select(`${PREFIX}queue_info`).length, 1, 'a queue that is gone is gone')
})

t.test('a queue that goes to another IOThread takes its counters along', async (t) => {
  const moved = { ...queue(), iothread: 'io0', tid: 4242 }
  const metrics = metricsOf([moved])
  moved.statistics.count(0, OPERATION.READ, 4096, false)
  t.equal((await scrape(metrics)).sum(`${PREFIX}queue_info`, { iothread: 'io0', tid: '4242' }), 1)
  Object.assign(moved, { iothread: 'io1', tid: 4243 })
  moved.statistics.count(0, OPERATION.READ, 4096, false)
  const after = await scrape(metrics)
  t.strictSame(
    after.select(`${PREFIX}queue_info`).map(({ labels }) => labels),
    [{ controller: 'vm', queue: '0', iothread: 'io1', tid: '4243' }],
    'it is in one place',
  )
  const requests = after.select(`${PREFIX}requests_total`, { lun: 'root', op: 'read' })
  t.strictSame(
    requests.map(({ labels, value }) => [labels, value]),
    [[{ controller: 'vm', queue: '0', lun: 'root', op: 'read' }, 2]],
    'one series, which goes on',
  )
})

t.test('what IOThreads do, as the shared counters stand at the scrape', async (t) => {
  const iothreads = [iothread(), iothread({ id: 'io1', tid: 4243 })]
  const metrics = metricsOf([], iothreads)
  const counters = [
    ['requests', THREAD_FIELD.REQUESTS],
    ['sleeps', THREAD_FIELD.SLEEPS],
    ['polls', THREAD_FIELD.POLLS],
    ['poll_hits', THREAD_FIELD.POLL_HITS],
  ] as const
  const before = await scrape(metrics)
  for (const [name] of counters) t.equal(before.select(`${PREFIX}iothread_${name}_total`).length, 2, 'at 0')
  counters.forEach(([, field], i) => {
    iothreads[1]!.statistics.add(field, i + 1)
  })
  for (let scrapes = 0; scrapes < 2; scrapes++) {
    const after = await scrape(metrics)
    counters.forEach(([name], i) => {
      t.equal(after.sum(`${PREFIX}iothread_${name}_total`, { iothread: 'io0' }), 0)
      t.equal(after.sum(`${PREFIX}iothread_${name}_total`, { iothread: 'io1' }), i + 1)
    })
  }
})

t.test('IOThreads and their heartbeats', async (t) => {
  const well = { answered: 10, missed: 1, ageSeconds: 0.5, silent: false }
  const ill = { answered: 3, missed: 7, ageSeconds: 8.25, silent: true }
  const iothreads = [iothread({ heartbeat: well }), iothread({ id: 'io1', tid: 4243, engine: 'epoll', heartbeat: ill })]
  const metrics = metricsOf([], iothreads)
  for (let scrapes = 0; scrapes < 2; scrapes++) {
    const result = await scrape(metrics)
    t.equal(result.sum(`${PREFIX}iothread_info`, { iothread: 'io1', tid: '4243', engine: 'epoll' }), 1)
    for (const [id, { answered, missed, ageSeconds }] of Object.entries({ io0: well, io1: ill })) {
      const labels = { iothread: id }
      t.equal(result.sum(`${PREFIX}iothread_heartbeats_total`, labels), answered)
      t.equal(result.sum(`${PREFIX}iothread_heartbeats_missed_total`, labels), missed)
      t.equal(result.sum(`${PREFIX}iothread_heartbeat_age_seconds`, labels), ageSeconds)
    }
  }
  iothreads.shift()
  const fewer = await scrape(metrics)
  for (const name of ['info', 'heartbeats_total', 'heartbeats_missed_total', 'heartbeat_age_seconds']) {
    const samples = fewer.select(`${PREFIX}iothread_${name}`)
    t.strictSame(
      samples.map(({ labels }) => labels.iothread),
      ['io1'],
      'one that is gone is gone',
    )
  }
})

t.test('names are as Prometheus wants them', async (t) => {
  const metrics = metricsOf([queue()], [iothread()])
  for (const line of (await metrics.text()).split('\n')) {
    const [, kind, name, rest] = /^# (HELP|TYPE) (vhost_user_scsi_\w+) (.+)$/.exec(line) ?? []
    if (kind === undefined) continue
    if (kind === 'HELP') t.match(rest, /^[A-Z].*[^.]$/, `${name}: ${rest}`)
    else t.match(name, rest === 'counter' ? /_total$/ : /_(info|seconds)$/, `${name} is a ${rest}`)
  }
  t.match(metrics.contentType, /^text\/plain; version=0\.0\.4/)
})
