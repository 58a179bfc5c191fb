import { addressOf, FdPoll, Mapping, memcpy, raw } from 'memfd-mmap'

const IS_X64 = process.arch === 'x64'
/** System calls that libc has no simple wrapper for (asm/unistd.h). */
const SYS = IS_X64 ? { PRCTL: 157, SECCOMP: 317, IOCTL: 16 } : { PRCTL: 167, SECCOMP: 277, IOCTL: 29 }
const PR_SET_NO_NEW_PRIVS = 38
const SECCOMP_SET_MODE_FILTER = 1
const FILTER_FLAG_NEW_LISTENER = 8
const RET = { ERRNO: 0x00050000, NOTIFY: 0x7fc00000, ALLOW: 0x7fff0000 } as const

/** Classic BPF opcodes (linux/bpf_common.h). */
const BPF = { LOAD_WORD: 0x20, JUMP_EQUAL: 0x15, RETURN: 0x06 } as const

/** struct seccomp_notif and seccomp_notif_resp (linux/seccomp.h), and their ioctls. */
const NOTIF = { ID: 0, NR: 16, ARGS: 32, SIZE: 80 } as const
const RESPONSE = { ID: 0, ERROR: 16, FLAGS: 20, SIZE: 24 } as const
const IOCTL_RECV = 0xc0502100
const IOCTL_SEND = 0xc0182101
const FLAG_CONTINUE = 1

/** A filter program: `action` for the system calls with these numbers, all others are allowed. */
function install(numbers: readonly number[], action: number, flags: number): number {
  const program: [number, number, number, number][] = [[BPF.LOAD_WORD, 0, 0, 0]]
  numbers.forEach((number, i) => {
    program.push([BPF.JUMP_EQUAL, numbers.length - i, 0, number])
  })
  program.push([BPF.RETURN, 0, 0, RET.ALLOW], [BPF.RETURN, 0, 0, action])
  // struct sock_fprog, then the struct sock_filters.
  const bytes = new DataView(new ArrayBuffer(16 + 8 * program.length))
  const address = addressOf(bytes)
  bytes.setUint16(0, program.length, true)
  bytes.setBigUint64(8, BigInt(address + 16), true)
  for (const [i, [code, yes, no, k]] of program.entries()) {
    bytes.setUint16(16 + 8 * i, code, true)
    bytes.setUint8(18 + 8 * i, yes)
    bytes.setUint8(19 + 8 * i, no)
    bytes.setUint32(20 + 8 * i, k, true)
  }
  const set = raw.syscall(SYS.PRCTL, PR_SET_NO_NEW_PRIVS, 1)
  if (set < 0) throw new Error(`prctl: ${set}`)
  const result = raw.syscall(SYS.SECCOMP, SECCOMP_SET_MODE_FILTER, flags, address)
  if (result < 0) throw new Error(`seccomp: ${result}`)
  return result
}

/** From now on this thread, and those that it starts, get `errno` for these system calls. */
export function refuse(numbers: readonly number[], errno: number): void {
  install(numbers, RET.ERRNO | errno, 0)
}

/** A system call that waits for its fate. Its pointers are addresses of this process. */
export interface Intercepted {
  readonly number: number
  readonly args: readonly number[]
}

/**
 * From now on `decide` says what becomes of these system calls of threads that this one starts: an errno, or 0 to let it
 * be done. This thread must not make any of them itself. The function returned ends the watch.
 */
export function intercept(numbers: readonly number[], decide: (call: Intercepted) => number): () => void {
  const listener = install(numbers, RET.NOTIFY, FILTER_FLAG_NEW_LISTENER)
  const memory = Mapping.anonymous(4096)
  const view = new DataView(memory.view())
  const poll = new FdPoll(listener, { readable: true }, () => {
    for (let i = 0; i < NOTIF.SIZE + RESPONSE.SIZE; i++) view.setUint8(i, 0)
    if (raw.syscall(SYS.IOCTL, listener, IOCTL_RECV, memory.address) < 0) return
    const args = [0, 1, 2, 3, 4, 5].map((i) => Number(view.getBigUint64(NOTIF.ARGS + 8 * i, true)))
    const errno = decide({ number: view.getInt32(NOTIF.NR, true), args })
    const response = 512
    for (let i = 0; i < RESPONSE.SIZE; i++) view.setUint8(response + i, 0)
    view.setBigUint64(response + RESPONSE.ID, view.getBigUint64(NOTIF.ID, true), true)
    if (errno === 0) view.setUint32(response + RESPONSE.FLAGS, FLAG_CONTINUE, true)
    else view.setInt32(response + RESPONSE.ERROR, -errno, true)
    raw.syscall(SYS.IOCTL, listener, IOCTL_SEND, memory.address + response)
  })
  poll.unref()
  return () => {
    poll.close()
    raw.close(listener)
    memory.unmap()
  }
}

/** A 32-bit word of this process's memory. */
export function wordAt(address: number): number {
  const word = new Uint32Array(new ArrayBuffer(4))
  memcpy(addressOf(word), address, 4)
  return word[0]!
}
