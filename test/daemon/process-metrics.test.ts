import perfHooks from 'node:perf_hooks'
import { Registry } from 'prom-client'
import t from 'tap'
import { registerProcessMetrics } from '../../daemon/process-metrics.js'
import { Metrics } from '../support/prometheus.js'

t.test('metrics of the process, from which nothing keeps it awake', async (t) => {
  const original = perfHooks.monitorEventLoopDelay
  const resolutions: number[] = []
  t.teardown(() => {
    perfHooks.monitorEventLoopDelay = original
  })
  perfHooks.monitorEventLoopDelay = (options) => {
    resolutions.push(options?.resolution ?? 10)
    return original(options)
  }
  const registry = new Registry()
  registerProcessMetrics(registry)
  t.equal(resolutions.length, 1)
  t.ok(resolutions[0]! > 86_400_000, `every ${resolutions[0]} ms`)
  for (let i = 0; i < 2; i++) {
    const text = await registry.metrics()
    const metrics = new Metrics(text)
    t.ok(metrics.sum('process_cpu_seconds_total') > 0)
    t.ok(metrics.sum('process_resident_memory_bytes') > 0)
    t.ok(metrics.sum('nodejs_eventloop_lag_seconds') >= 0)
    t.strictSame(
      [...text.matchAll(/^nodejs_eventloop_lag_\w+/gm)].map(([name]) => name),
      ['nodejs_eventloop_lag_seconds'],
    )
  }
})
