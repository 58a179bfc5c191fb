import type { Daemon } from '../daemon.js'
import { eventually } from '../deadline.js'
import type { Metrics } from '../prometheus.js'

const PATIENCE = 60_000

/** The requests that have ended on a request queue. */
export const requestsOf = (metrics: Metrics, queue: number): number =>
  metrics.sum('vhost_user_scsi_requests_total', { queue: `${queue}` })

/** Waits until each of the queues has ended so many requests more. */
export const progress = async (daemon: Daemon, queues: readonly number[], requests: number): Promise<void> => {
  const from = await daemon.metrics()
  await eventually(PATIENCE, `${requests} requests more on each queue`, async () => {
    const now = await daemon.metrics()
    return queues.every((queue) => requestsOf(now, queue) >= requestsOf(from, queue) + requests) || undefined
  })
}
