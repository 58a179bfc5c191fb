import { raw } from 'memfd-mmap'
import t from 'tap'
import { Doorbells } from '../../iothreads/doorbells.js'
import { FileDriver } from '../../iothreads/drivers/file.js'
import { MemoryDriver } from '../../iothreads/drivers/memory.js'
import { NullDriver } from '../../iothreads/drivers/null.js'
import { ReadOnlyDriver } from '../../iothreads/drivers/read-only.js'
import { EpollEngine } from '../../iothreads/epoll-engine.js'
import { Forwarding } from '../../iothreads/forwarding.js'
import type { Medium } from '../../iothreads/messages.js'
import type { Request } from '../../iothreads/request.js'
import { SyncIo } from '../../iothreads/sync-io.js'
import { UringEngine } from '../../iothreads/uring-engine.js'
import { type DriverParts, WorkerController } from '../../iothreads/worker-controller.js'
import { WriteGates } from '../../iothreads/write-gates.js'
import { ATTENTION, raiseAttention, SENSE, Task, takeAttention } from '../../scsi/index.js'
import { perform, Recorder } from '../support/iothreads/engine-suite.js'
import { mappedRegions, QueueRig } from '../support/iothreads/queue-rig.js'
import { SegmentRig } from '../support/iothreads/request-with.js'
import { imageFd, readAll, unitSpec } from '../support/iothreads/units.js'
import type { Teardown } from '../support/teardown.js'
import { SharedMemory } from '../support/vhost/shared-memory.js'

/** An engine that writes down which files it is told of. */
class Witness extends EpollEngine {
  readonly files: string[] = []

  override addFile(fd: number): void {
    this.files.push(`+${fd}`)
  }

  override removeFile(fd: number): void {
    this.files.push(`-${fd}`)
  }
}

const gates = (): WriteGates<Request> => new WriteGates(new Doorbells(), 0, () => {})

function makeParts(t: Teardown): DriverParts & { engine: Witness } {
  const engine = new Witness(new Recorder())
  const inlineIo = new SyncIo()
  t.teardown(() => {
    engine.close()
    inlineIo.close()
  })
  return { engine, inlineIo, ended: () => {}, gates: gates() }
}

const FORWARDING = new Forwarding('c', { forward() {}, recall() {} })

const file = (fd: number, inline = false): Medium => ({ kind: 'file', fd, inline })
const delayed: Medium = { kind: 'null', delayNs: 1000 }
const nothing: Medium = { kind: 'null', delayNs: 0 }

t.test('units in their order, each with the driver of its medium', async (t) => {
  const parts = makeParts(t)
  const media = [
    file(100),
    file(101, true),
    { kind: 'memory', fd: 102, address: 4096 } as const,
    delayed,
    nothing,
    delayed,
  ]
  const specs = media.map((medium, i) => unitSpec(medium, { target: i % 2, lun: 3 * i }))
  const controller = new WorkerController(specs, parts, FORWARDING)
  t.strictSame(
    controller.units.bindings.map(({ index, target, lun }) => [index, target, lun]),
    media.map((_, i) => [i, i % 2, 3 * i]),
  )
  t.strictSame(
    controller.units.bindings.map(({ driver }) => driver.constructor),
    [FileDriver, FileDriver, MemoryDriver, NullDriver, NullDriver, NullDriver],
  )
  t.equal(controller.delayLines.length, 2)
  for (const [i, spec] of specs.entries()) t.equal(controller.units.find(spec.target, spec.lun)?.index, i)
  t.equal(controller.units.find(0, 3), null)
  // The target answers for all of its units.
  const task = new Task()
  task.cdbBytes.set([0xa0, 0, 0, 0, 0, 0, 0, 0, 0, 64, 0, 0])
  task.dataInLength = 64
  controller.units.targetOf(1, 0)!.execute(3, task)
  t.equal(task.dataIn[3], 3 * 8)
})

t.test('what is read-only has a driver that writes nothing', async (t) => {
  const parts = makeParts(t)
  const specs = [
    unitSpec(nothing, { lun: 0 }),
    unitSpec(nothing, { lun: 1, readOnly: true }),
    unitSpec(delayed, { lun: 2, config: { readOnly: true } }),
  ]
  const { units, delayLines } = new WorkerController(specs, parts, FORWARDING)
  t.strictSame(
    units.bindings.map(({ driver }) => driver.constructor),
    [NullDriver, ReadOnlyDriver, ReadOnlyDriver],
  )
  t.equal(delayLines.length, 1)
})

t.test('files that the engine reads are made known to it, as long as they are used', async (t) => {
  const parts = makeParts(t)
  const { files } = parts.engine
  const specs = [file(100), file(101, true), file(100)].map((medium, lun) => unitSpec(medium, { lun }))
  const controller = new WorkerController(specs, parts, FORWARDING)
  t.strictSame(files.splice(0), ['+100', '+100'])
  controller.close(parts)
  t.strictSame(files.splice(0), ['-100', '-100'])
  const twins = [file(100), file(103), file(104)].map((medium) => unitSpec(medium))
  t.throws(() => new WorkerController(twins, parts, FORWARDING), { message: /taken/ })
  t.throws(() => new WorkerController([unitSpec(file(100), { config: { blockSize: 100 } })], parts, FORWARDING))
  t.strictSame(files, [], 'a unit that is refused leaves nothing behind')
})

t.test('a descriptor that is used again stands for the new file', async (t) => {
  const recorder = new Recorder()
  const engine = new UringEngine(recorder)
  const inlineIo = new SyncIo()
  t.teardown(() => {
    engine.close()
    inlineIo.close()
  })
  const parts = { engine, inlineIo, ended: () => {}, gates: gates() }
  const rig = new SegmentRig(t, 4096)
  const request = rig.request([[0, 512]])
  Object.assign(request.task, { offset: 0, length: 512 })
  const fd = imageFd(t, 4096)
  const SYS_DUP3 = process.arch === 'x64' ? 292 : 24
  for (let round = 1; round <= 20; round++) {
    const image = imageFd(t, 4096)
    // One attempt fails before another succeeds.
    const specs = [unitSpec(file(fd)), unitSpec(file(fd))]
    t.throws(() => new WorkerController(specs, parts, FORWARDING))
    raw.syscall(SYS_DUP3, image, fd)
    const controller = new WorkerController(specs.slice(1), parts, FORWARDING)
    rig.bytes.fill(round, 0, 512)
    const { driver } = controller.units.find(0, 0)!
    t.equal(
      perform(engine, recorder, request.id, () => driver.transfer(request, rig.table, true)),
      512,
    )
    t.ok(readAll(image, 512).every((byte) => byte === round))
    controller.close(parts)
  }
})

t.test('memory changes only while no queue is started', async (t) => {
  const parts = makeParts(t)
  const controller = new WorkerController([unitSpec(nothing)], parts, FORWARDING)
  const memory = new SharedMemory([{ guestAddress: 0, size: 65536 }])
  t.teardown(() => memory.close())
  t.equal(controller.memory.translate(0, 1), -1)
  controller.setMemory(mappedRegions(memory))
  t.equal(controller.memory.translate(100, 1), memory.regions[0]!.mapping.address + 100)
  controller.queues.set(2, new QueueRig(t, { units: [] }).queue)
  t.throws(() => controller.setMemory([]), { message: /started queues/ })
  t.throws(() => controller.close(parts), { message: /started queues/ })
  t.equal(controller.memory.translate(0, 65536), memory.regions[0]!.mapping.address)
  controller.queues.clear()
  controller.close(parts)
  t.equal(controller.memory.translate(0, 1), -1)
})

t.test('units come and go while no queue is started', async (t) => {
  const parts = makeParts(t)
  const { files } = parts.engine
  const disk = unitSpec(file(100), { lun: 0 })
  const slow = { ...unitSpec(delayed, { lun: 1 }), place: 1 }
  const far = { ...unitSpec(file(101), { target: 3, lun: 300 }), place: 2 }
  const controller = new WorkerController([disk, slow], parts, FORWARDING)
  const { units } = controller
  files.length = 0
  raiseAttention(new Int32Array(disk.attention), ATTENTION.BUS_RESET)
  controller.setUnits([disk, far], parts)
  t.strictSame(files.splice(0), ['+100', '+101', '-100'], 'a file that stays is known all the time')
  t.equal(controller.delayLines.length, 0)
  t.equal(controller.units.find(0, 1), null)
  t.equal(controller.units.find(3, 300)?.index, 2, 'statistics name it as they did')
  t.equal(controller.units.targetOf(3, 0)?.luns().length, 1)
  t.equal(takeAttention(controller.units.find(0, 0)!.nexus.attention), SENSE.SCSI_BUS_RESET_OCCURRED)
  t.notOk(controller.units.find(0, 0) === units.find(0, 0), 'nothing refers to what was before')

  t.throws(() => controller.setUnits([far, far], parts), { message: /taken/ })
  t.strictSame(files, [], 'a list that is refused leaves nothing behind')
  t.equal(controller.units.find(0, 0)?.index, 0, 'nor takes anything away')

  controller.queues.set(2, new QueueRig(t, { units: [] }).queue)
  t.throws(() => controller.setUnits([slow], parts), { message: /started queues/ })
  controller.queues.clear()
  controller.setUnits([], parts)
  t.equal(controller.units.targetOf(0, 0), undefined)
  t.strictSame(files.splice(0), ['-100', '-101'])
  controller.setUnits([slow], parts)
  t.equal(controller.delayLines.length, 1)
  t.equal(controller.units.find(0, 1)?.index, 1)
})
