// Runs random commands on IOThreads while the kernel refuses io_uring, or parts of it, as the first argument says. Prints
// what came of it as JSON.
import { ERRNO } from 'memfd-mmap'
import { IoThread, type IoThreadOptions } from '../../../iothreads/index.js'
import { IORING_SETUP, PARAMS, SYS_IO_URING } from '../../../iothreads/uring-layout.js'
import { within } from '../deadline.js'
import { DiskModel } from './disk-model.js'
import { DEADLINE, IoRig, startThread } from './io-rig.js'
import { seeded } from './request-with.js'
import { intercept, refuse, wordAt } from './seccomp.js'
import { MEDIA, testMedium, unitSpec } from './units.js'

const SIZE = 2 ** 20
const BLOCKS = SIZE / 512

export interface RefusedReport {
  /** Of the IOThread that may use either engine. */
  engine: string
  engineFault: string | null
  /** Why an IOThread that has to use io_uring could not be started; '': it could. */
  forced: string
  /** What was wrong with the answers and the contents. */
  faults: string[]
  commands: number
  failures: string[]
  /** System calls that were refused. */
  refused: number
}

let refused = 0
let calls = 0
const scenarios: Record<string, () => (() => void) | undefined> = {
  EPERM() {
    refuse([SYS_IO_URING.SETUP], ERRNO.EPERM)
    return undefined
  },
  ENOSYS() {
    refuse([SYS_IO_URING.SETUP, SYS_IO_URING.ENTER, SYS_IO_URING.REGISTER], ERRNO.ENOSYS)
    return undefined
  },
  register() {
    refuse([SYS_IO_URING.REGISTER], ERRNO.EPERM)
    return undefined
  },
  // As kernels before 6.0 and 6.1 do.
  flags: () =>
    intercept([SYS_IO_URING.SETUP], ({ args }) => {
      const isNew = (wordAt(args[1]! + PARAMS.FLAGS) & (IORING_SETUP.SINGLE_ISSUER | IORING_SETUP.DEFER_TASKRUN)) !== 0
      if (isNew) refused++
      return isNew ? ERRNO.EINVAL : 0
    }),
  // Whatever io_uring_enter may answer on a bad day, to two calls of three.
  enter: () =>
    intercept([SYS_IO_URING.ENTER], () => {
      const errno = [ERRNO.EAGAIN, 0, ERRNO.EINTR, ERRNO.EBUSY, 0, ERRNO.EINTR][calls++ % 6]!
      if (errno !== 0) refused++
      return errno
    }),
}

const teardowns: (() => unknown)[] = []
const t = { teardown: (handler: () => unknown) => teardowns.push(handler) }

async function commands(rig: IoRig, lun: number, model: DiskModel, count: number): Promise<string[]> {
  const faults: string[] = []
  const worker = async (slot: number): Promise<void> => {
    for (let i = 0; i < count; i++) {
      const blocks = 1 + model.below(100)
      const lba = slot * 256 + model.below(256 - blocks)
      const { command, check } = model.command(lba, blocks)
      const fault = check(await rig.submit(0, { ...command, lun }))
      if (fault !== '') faults.push(`LUN ${lun}, ${command.cdb.toString()}: ${fault}`)
    }
  }
  await within(DEADLINE, 'the commands', Promise.all(Array.from({ length: BLOCKS / 256 }, (_, slot) => worker(slot))))
  return faults
}

const end = scenarios[process.argv[2]!]!()
const started = await startThread(t, { engine: 'auto' })
const { engine, engineFault } = started.thread
const report: RefusedReport = { engine, engineFault, forced: '', faults: [], commands: 0, failures: [], refused: 0 }
try {
  const forced: IoThreadOptions = { id: 'forced', engine: 'io_uring' }
  const thread = await IoThread.start(forced, {
    fault() {},
    mediumFault() {},
    forwarded() {},
    recalled() {},
    failed() {},
  })
  await thread.stop()
} catch (error) {
  report.forced = (error as Error).message
}
const media = MEDIA.map((name) => testMedium(t, name, SIZE))
const units = media.map(({ medium }, lun) => unitSpec(medium, { lun, size: SIZE }))
const rig = await IoRig.start(t, { units, threads: [started] })
const count = process.argv[2] === 'enter' ? 10 : 50
for (const [lun, medium] of media.entries()) {
  const model = new DiskModel(SIZE, seeded(lun))
  report.faults.push(...(await commands(rig, lun, model, count)))
  report.commands += (count * BLOCKS) / 256
  if (Buffer.compare(medium.content(), model.bytes) !== 0) report.faults.push(`LUN ${lun}: other contents`)
}
report.refused = refused
report.failures = started.failures.map(({ message }) => message)
for (const teardown of teardowns.reverse()) await teardown()
end?.()
process.stdout.write(`${JSON.stringify(report)}\n`)
