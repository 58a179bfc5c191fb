// Stops the thread whose id is the first argument until this process ends.
import { raw } from 'memfd-mmap'

const SYS = process.arch === 'x64' ? { PTRACE: 101, WAIT4: 61 } : { PTRACE: 117, WAIT4: 260 }
const PTRACE_SEIZE = 0x4206
const PTRACE_INTERRUPT = 0x4207
const WALL = 0x40000000

const tid = Number(process.argv[2])
const results = [
  raw.syscall(SYS.PTRACE, PTRACE_SEIZE, tid),
  raw.syscall(SYS.PTRACE, PTRACE_INTERRUPT, tid),
  raw.syscall(SYS.WAIT4, tid, 0, WALL),
]
if (results.some((result) => result < 0)) throw new Error(`thread ${tid} cannot be held: ${results.join(', ')}`)
process.stdout.write('held\n')
// The kernel lets the thread go on when this process ends.
setInterval(() => {}, 2 ** 30)
