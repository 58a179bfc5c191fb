import { collectDefaultMetrics, type Registry } from 'prom-client'

/** The longest that Node takes, about 25 days, in ms. */
const NEVER = 2 ** 31 - 1

const LAG = 'nodejs_eventloop_lag_seconds'
const LAG_HISTOGRAM = 'nodejs_eventloop_lag_'

/**
 * Registers the usual metrics of a Node process, but not the histogram of its loop's lag: that samples with a timer,
 * which by default wakes the process a hundred times a second for as long as it lives, over 1 % of a CPU. The lag at the
 * time of the scrape is there.
 */
export function registerProcessMetrics(registry: Registry): void {
  collectDefaultMetrics({ register: registry, eventLoopMonitoringPrecision: NEVER })
  for (const { name } of registry.getMetricsAsArray()) {
    if (name.startsWith(LAG_HISTOGRAM) && name !== LAG) registry.removeSingleMetric(name)
  }
}
