import { join } from 'node:path'
import type { QueueInfo, QueueMove } from '../../daemon/control/target.js'
import { Random } from '../support/random.js'
import { ask } from '../support/unix-http.js'
import { BackEnd } from './back-end.js'
import { drive, tidily } from './drive.js'
import { warm } from './image.js'
import { job, type Plan } from './measure-case.js'
import { placement } from './placement.js'
import { type Case, type Lun, median } from './row.js'
import { grouped, markdownTable } from './table.js'

/** What it costs to give a queue to another IOThread while it is full. */
export interface Moves {
  readonly lun: Lun
  readonly queues: number
  readonly iothreads: number
  /** Requests in flight on each queue. */
  readonly depth: number
  readonly moves: number
  /** How long a queue stood still, us. */
  readonly p50_us: number
  readonly p99_us: number
  readonly max_us: number
  /** With all of these moves. */
  readonly iops: number
}

const DEPTH = 32
const QUEUES = 4
const IOTHREADS = 4

/** Random moves, one after another, for as long as the front end runs. */
export function measureMoves(lun: Lun, plan: Plan): Promise<Moves> {
  const c: Case = {
    ...{ lun, op: 'randread', bs: 4096, qd: DEPTH * QUEUES, queues: QUEUES, iothreads: IOTHREADS },
    ...{ poll: 'adaptive', indirect: false, packed: false, quick: true },
  }
  return tidily(async (t) => {
    const cpus = placement(plan.cpus, IOTHREADS)
    if (lun === 'file') warm(plan.image)
    const control = join(plan.dir, 'bench-control.sock')
    const { dir, image, imageBytes: bytes, nodeArgs } = plan
    const backEnd = new BackEnd(t, c, { dir, image, bytes, cpus: cpus.backEnd, nodeArgs, control })
    await backEnd.listening()
    const load = { running: true }
    const driven = drive({ ...job(c, plan, cpus, backEnd), runs: 3 }).finally(() => {
      load.running = false
    })
    const pauses: number[] = []
    const random = new Random(1)
    while (load.running) {
      const queue = random.below(QUEUES)
      const { json, status } = await ask(control, 'PUT', `/v1/controllers/controller0/queues/${queue}`, {
        iothread: `io${random.below(IOTHREADS)}`,
      })
      if (status !== 200) throw new Error(`a move was refused: ${JSON.stringify(json)}`)
      const pause = (json as QueueMove)['pause-ns']
      if (pause > 0) pauses.push(pause / 1000)
    }
    const report = await driven
    const queues = (await ask(control, 'GET', '/v1/queues')).json as QueueInfo[]
    const counted = queues.reduce((sum, { moves }) => sum + moves, 0)
    if (counted < pauses.length) throw new Error(`${pauses.length} moves were answered, ${counted} counted`)
    await backEnd.stop()
    pauses.sort((a, b) => a - b)
    return {
      ...{ lun, queues: QUEUES, iothreads: IOTHREADS, depth: DEPTH, moves: pauses.length },
      p50_us: median(pauses),
      p99_us: pauses[Math.floor(0.99 * (pauses.length - 1))]!,
      max_us: pauses.at(-1)!,
      iops: Math.round(median(report.iops)),
    }
  })
}

export function movesTable(rows: readonly Moves[]): string {
  return markdownTable(
    [
      ['LUN', ({ lun }) => lun],
      ['moves', ({ moves }) => grouped(moves)],
      ['pause us: median', ({ p50_us }) => p50_us.toFixed(0)],
      ['p99', ({ p99_us }) => p99_us.toFixed(0)],
      ['most', ({ max_us }) => max_us.toFixed(0)],
      ['IOPS meanwhile', ({ iops }) => grouped(iops)],
    ],
    rows,
  )
}
