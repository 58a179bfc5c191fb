// Bytes of JavaScript heap that one call takes, as JSON by name. To be run with --expose-gc and a young generation so large that nothing
// is collected while a function is measured: heap growth then is all that was allocated.
import {
  addressOf,
  clockMonotonicNs,
  createEventfd,
  createMemfd,
  drainEventfd,
  IOVEC,
  Mapping,
  memcpy,
  preadv,
  pwritev,
  signalEventfd,
  syscall,
  syscall4,
} from 'memfd-mmap'

const calls = Number(process.argv[2])
const memory = Mapping.anonymous(65536)
const { address } = memory
const target = address + 8192
const fd = createMemfd('allocations', 65536)
const eventfd = createEventfd()
const iov = new Uint32Array(new ArrayBuffer(IOVEC.SIZE))
iov[0] = target >>> 0
iov[1] = Math.floor(target / 2 ** 32)
iov[2] = 512
const iovAddress = addressOf(iov)
const kept = new Float64Array(1)
const SYS_GETPID = process.arch === 'x64' ? 39 : 172

const subjects: Record<string, () => void> = {
  syscall: () => {
    kept[0] = syscall(SYS_GETPID, address, target, iovAddress, address, target, iovAddress)
  },
  syscall4: () => {
    kept[0] = syscall4(SYS_GETPID, address, target, iovAddress, address)
  },
  preadv: () => {
    kept[0] = preadv(fd, iovAddress, 1, 512)
  },
  pwritev: () => {
    kept[0] = pwritev(fd, iovAddress, 1, 512)
  },
  memcpy: () => {
    memcpy(target, address, 64)
  },
  signalEventfd: () => {
    kept[0] = signalEventfd(eventfd)
  },
  drainEventfd: () => {
    kept[0] = drainEventfd(eventfd)
  },
  clockMonotonicNs: () => {
    kept[0] = clockMonotonicNs()
  },
  // The measure of the measure: one heap object a call.
  object: () => {
    object = { kept }
  },
}
export let object: object

function repeat(call: () => void, times: number): void {
  for (let i = 0; i < times; i++) call()
}

const collect = (globalThis as { gc?: () => void }).gc!
const report: Record<string, number> = {}
for (const [name, call] of Object.entries(subjects)) {
  // Each subject gets its own copy of the loop, or the calls would not be inlined.
  const loop = new Function('call', `return ${repeat.toString()}`)() as typeof repeat
  for (let i = 0; i < 20; i++) loop(call, 5000)
  collect()
  const before = process.memoryUsage().heapUsed
  loop(call, calls)
  report[name] = (process.memoryUsage().heapUsed - before) / calls
}
process.stdout.write(JSON.stringify(report))
