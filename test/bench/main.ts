import { writeFileSync } from 'node:fs'
import { loadavg, release } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { getAffinity } from 'memfd-mmap'
import { tidily } from './drive.js'
import { fioVersion } from './fio.js'
import { type Idle, idleTable, measureIdle } from './idle.js'
import { benchDir, createImage } from './image.js'
import { measureCase } from './measure-case.js'
import { type Moves, measureMoves, movesTable } from './moves.js'
import { pollingConditions, pollingTable } from './polling.js'
import { markdown, type Report } from './report.js'
import { ringsTable } from './rings.js'
import { isPolling, isScaling, ROW_SETS, type Row, type RowSet, selectCases } from './row.js'
import { scalingConditions, scalingTable } from './scaling.js'

const USAGE = `usage: npm run bench -- [--quick] [--json FILE] [--rows SET,...] [--lun LUN,...] [--node-arg ARG]...
  --quick     fewer rows, 3 short runs of each instead of 5
  --json      write the report there too
  --rows      only these of: basic, scaling (1, 2 and 4 IOThreads), polling (off, adaptive, busy),
              rings (split, packed), moves, idle
  --lun       only the rows of these of: null, null-delay80, memory, file
  --node-arg  an argument for the daemon's node (a profiler's, say)`

const IMAGE_BYTES = 256 * 2 ** 20

class UsageError extends Error {
  readonly code = 'ERR_PARSE_ARGS_VALUE'
}

const SETS = [...(Object.keys(ROW_SETS) as RowSet[]), 'moves', 'idle'] as const

function parseSets(text: string | undefined): readonly (typeof SETS)[number][] {
  if (text === undefined) return SETS
  return text.split(',').map((name) => {
    const set = SETS.find((each) => each === name)
    if (set === undefined) throw new UsageError(`--rows: no rows ${JSON.stringify(name)}, expected ${SETS.join()}`)
    return set
  })
}

function print(title: string, ...paragraphs: string[]): void {
  console.log([`\n## ${title}`, ...paragraphs].join('\n\n'))
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      quick: { type: 'boolean', default: false },
      json: { type: 'string' },
      rows: { type: 'string' },
      lun: { type: 'string' },
      'node-arg': { type: 'string', multiple: true, default: [] },
      help: { type: 'boolean', default: false },
    },
  })
  if (values.help) {
    console.log(USAGE)
    return
  }
  const { quick } = values
  const sets = parseSets(values.rows)
  const rowSets = sets.filter((set) => set !== 'idle' && set !== 'moves')
  const cases = selectCases(rowSets, values.lun?.split(','), quick)
  const cpus = getAffinity(0)
  const fio = await fioVersion()
  if (fio === undefined) console.error('fio with io_uring is not installed: no reference for the file rows')
  const load = loadavg()[0]!
  if (load > 0.5) console.error(`the machine is busy (load ${load.toFixed(1)}): the figures will be low and vary`)
  const rows: Row[] = []
  const moves: Moves[] = []
  let idle: Idle | null = null
  await tidily(async (t) => {
    const dir = benchDir(t)
    const image = join(dir, 'image')
    createImage(image, IMAGE_BYTES)
    const plan = {
      warmUp: quick ? 0.5 : 1.5,
      seconds: quick ? 0.6 : 2,
      runs: quick ? 3 : 5,
      fioRuns: quick ? 1 : 3,
      cpus,
      dir,
      image,
      imageBytes: IMAGE_BYTES,
      fio: fio !== undefined,
      nodeArgs: values['node-arg'],
    }
    for (const c of cases) {
      const row = await measureCase(c, plan)
      rows.push(row)
      console.error(markdown([row]).split('\n')[2])
    }
    if (sets.includes('moves')) for (const lun of ['null', 'file'] as const) moves.push(await measureMoves(lun, plan))
    if (sets.includes('idle')) idle = await measureIdle(plan, quick ? 5 : 20)
  })
  const report: Report = {
    node: process.version,
    cpus: cpus.length,
    kernel: release(),
    fio: fio ?? null,
    load,
    pinned: cpus.length > 1,
    rows,
    moves,
    idle,
  }
  show(report)
  if (values.json !== undefined) writeFileSync(values.json, `${JSON.stringify(report, null, 2)}\n`)
}

function show({ rows, moves, idle, cpus }: Report): void {
  if (rows.length > 0) console.log(markdown(rows))
  if (rows.some(isScaling)) print('IOThreads', scalingTable(rows), scalingConditions(rows, cpus))
  if (rows.some(isPolling)) print('Polling', pollingTable(rows), pollingConditions(rows))
  if (rows.some((row) => row.packed)) print('Split and packed rings', ringsTable(rows))
  if (moves.length > 0) {
    const { queues, iothreads, depth } = moves[0]!
    const what = `${queues} queues with ${depth} requests in flight each, given to one of ${iothreads} IOThreads after another, all the time.`
    print('Queues that move', movesTable(moves), what)
  }
  if (idle !== null) {
    const { queues, iothreads, seconds } = idle
    const what = `The daemon over ${seconds.toFixed(0)} s, from 10 s after its front end's last request on; ${queues} queues, ${iothreads} IOThreads, default polling.`
    print('Idle', idleTable(idle), what)
  }
}

try {
  await main()
} catch (error) {
  console.error(error instanceof Error ? error.message : error)
  process.exitCode = (error as { code?: string }).code?.startsWith('ERR_PARSE_ARGS') ? 2 : 1
}
