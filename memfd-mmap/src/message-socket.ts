import { ERRNO } from './errno.js'
import { addressOf, declare, putU64, result } from './libc.js'
import { close } from './raw.js'

const recvmsg = declare('recvmsg', 'long', ['int', 'long', 'int'])
const sendmsg = declare('sendmsg', 'long', ['int', 'long', 'int'])

const SOL_SOCKET = 1
const SCM_RIGHTS = 1
const MSG_CTRUNC = 0x8
const MSG_DONTWAIT = 0x40
const MSG_NOSIGNAL = 0x4000
const MSG_CMSG_CLOEXEC = 0x40000000

/** struct msghdr of the 64-bit ABIs (recvmsg(2)); POINTERS and lengths are 8 bytes, NAME_LENGTH and FLAGS 4. */
const MSGHDR = {
  NAME: 0,
  NAME_LENGTH: 8,
  IOV: 16,
  IOV_COUNT: 24,
  CONTROL: 32,
  CONTROL_LENGTH: 40,
  FLAGS: 48,
  SIZE: 56,
} as const
/**
 * struct cmsghdr (cmsg(3)): u64 length with the header, int level, int type; the data follows, each header is 8-byte
 * aligned.
 */
const CMSGHDR = { LENGTH: 0, LEVEL: 8, TYPE: 12, DATA: 16, ALIGN: 8 } as const

/** Most descriptors that one receive() takes or one send() passes. */
export const MAX_MESSAGE_FDS = 64

const CONTROL_SIZE = CMSGHDR.DATA + MAX_MESSAGE_FDS * 4
const IOV = MSGHDR.SIZE
const CONTROL = IOV + 16
const BUFFER_SIZE = CONTROL + CONTROL_SIZE

/**
 * Bytes and descriptors (SCM_RIGHTS, unix(7)) over a connected Unix stream socket, without waiting. Framing is the
 * caller's: ask for no more than the current frame, so that descriptors belong to it. Does not own the descriptor and
 * never closes it.
 */
export class MessageSocket {
  readonly #fd: number
  readonly #words = new Uint32Array(new ArrayBuffer(BUFFER_SIZE))
  readonly #address = addressOf(this.#words)
  #buffer: ArrayBufferLike | undefined
  #bufferAddress = 0

  constructor(fd: number) {
    this.#fd = fd
    const words = this.#words
    putU64(words, MSGHDR.IOV >> 2, this.#address + IOV)
    words[MSGHDR.IOV_COUNT >> 2] = 1
  }

  /**
   * Receives up to `length` bytes into `into` at `offset` and appends the descriptors that came with them, all
   * close-on-exec, to `fds`. Bytes received, 0 at the end of the stream, -EAGAIN, or -errno. When more descriptors
   * came than fit (MAX_MESSAGE_FDS) those of this call are closed and the answer is -EMSGSIZE. Asking for 0 bytes is
   * -EINVAL, as its answer could not be told from the end.
   */
  receive(into: Uint8Array, offset: number, length: number, fds: number[]): number {
    if (length === 0) return -ERRNO.EINVAL
    const words = this.#words
    this.#prepare(into, offset, length, CONTROL_SIZE)
    const received = result(recvmsg(this.#fd, this.#address, MSG_DONTWAIT | MSG_CMSG_CLOEXEC))
    if (received < 0) return received
    const before = fds.length
    this.#takeDescriptors(fds)
    if ((words[MSGHDR.FLAGS >> 2]! & MSG_CTRUNC) === 0) return received
    for (let i = before; i < fds.length; i++) close(fds[i]!)
    fds.length = before
    return -ERRNO.EMSGSIZE
  }

  /**
   * Sends up to `length` bytes of `from` at `offset`, with `fds` attached to the first of them; the caller keeps its
   * own descriptors. Bytes sent (a short count has passed all descriptors), -EAGAIN, -EPIPE without a signal, or
   * -errno; -EINVAL for more than MAX_MESSAGE_FDS descriptors or for descriptors without a byte to carry them.
   */
  send(from: Uint8Array, offset: number, length: number, fds?: readonly number[]): number {
    const count = fds === undefined ? 0 : fds.length
    if (count > MAX_MESSAGE_FDS || (count > 0 && length === 0)) return -ERRNO.EINVAL
    const words = this.#words
    const controlLength = count === 0 ? 0 : CMSGHDR.DATA + count * 4
    this.#prepare(from, offset, length, controlLength)
    if (count > 0) {
      putU64(words, (CONTROL + CMSGHDR.LENGTH) >> 2, controlLength)
      words[(CONTROL + CMSGHDR.LEVEL) >> 2] = SOL_SOCKET
      words[(CONTROL + CMSGHDR.TYPE) >> 2] = SCM_RIGHTS
      for (let i = 0; i < count; i++) words[((CONTROL + CMSGHDR.DATA) >> 2) + i] = fds![i]!
    }
    return result(sendmsg(this.#fd, this.#address, MSG_DONTWAIT | MSG_NOSIGNAL))
  }

  #prepare(bytes: Uint8Array, offset: number, length: number, controlLength: number): void {
    if (!(offset >= 0 && length >= 0 && offset + length <= bytes.length)) {
      throw new RangeError(`${length} bytes at ${offset} of a buffer of ${bytes.length}`)
    }
    const buffer = bytes.buffer
    if (buffer !== this.#buffer) {
      this.#bufferAddress = addressOf(buffer)
      this.#buffer = buffer
    }
    const words = this.#words
    putU64(words, IOV >> 2, this.#bufferAddress + bytes.byteOffset + offset)
    putU64(words, (IOV + 8) >> 2, length)
    putU64(words, MSGHDR.CONTROL >> 2, controlLength === 0 ? 0 : this.#address + CONTROL)
    putU64(words, MSGHDR.CONTROL_LENGTH >> 2, controlLength)
    words[MSGHDR.FLAGS >> 2] = 0
  }

  #takeDescriptors(fds: number[]): void {
    const words = this.#words
    const end = CONTROL + words[MSGHDR.CONTROL_LENGTH >> 2]!
    let at = CONTROL
    while (at + CMSGHDR.DATA <= end) {
      const length = words[(at + CMSGHDR.LENGTH) >> 2]!
      if (length < CMSGHDR.DATA || at + length > end) return
      if (words[(at + CMSGHDR.LEVEL) >> 2] === SOL_SOCKET && words[(at + CMSGHDR.TYPE) >> 2] === SCM_RIGHTS) {
        for (let i = at + CMSGHDR.DATA; i + 4 <= at + length; i += 4) fds.push(words[i >> 2]!)
      }
      at += Math.ceil(length / CMSGHDR.ALIGN) * CMSGHDR.ALIGN
    }
  }
}
