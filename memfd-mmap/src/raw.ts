/**
 * System calls for the hot path: Numbers in, a result >= 0 or -errno out. Nothing is allocated and nothing is thrown,
 * provided that every argument is a Number; an address that is wrong is the caller's memory safety problem, as in C
 * (the kernel answers -EFAULT, memcpy and its like crash).
 */

import { declare, result } from './libc.js'
import { isPolled } from './polled.js'

const LONG = 'long'
const c = {
  syscall1: declare('syscall', 'long', [LONG, LONG]),
  syscall2: declare('syscall', 'long', [LONG, LONG, LONG]),
  syscall3: declare('syscall', 'long', [LONG, LONG, LONG, LONG]),
  syscall4: declare('syscall', 'long', [LONG, LONG, LONG, LONG, LONG]),
  syscall6: declare('syscall', 'long', [LONG, LONG, LONG, LONG, LONG, LONG, LONG]),
  read: declare('read', 'long', ['int', LONG, 'size_t']),
  write: declare('write', 'long', ['int', LONG, 'size_t']),
  pread: declare('pread', 'long', ['int', LONG, 'size_t', LONG]),
  pwrite: declare('pwrite', 'long', ['int', LONG, 'size_t', LONG]),
  preadv: declare('preadv', 'long', ['int', LONG, 'int', LONG]),
  pwritev: declare('pwritev', 'long', ['int', LONG, 'int', LONG]),
  preadv2: declare('preadv2', 'long', ['int', LONG, 'int', LONG, 'int']),
  pwritev2: declare('pwritev2', 'long', ['int', LONG, 'int', LONG, 'int']),
  memcpy: declare('memcpy', 'void', [LONG, LONG, 'size_t']),
  memmove: declare('memmove', 'void', [LONG, LONG, 'size_t']),
  memset: declare('memset', 'void', [LONG, 'int', 'size_t']),
  memcmp: declare('memcmp', 'int', [LONG, LONG, 'size_t']),
  fallocate: declare('fallocate', 'int', ['int', 'int', LONG, LONG]),
  ftruncate: declare('ftruncate', 'int', ['int', LONG]),
  lseek: declare('lseek', 'long', ['int', LONG, 'int']),
  posixFadvise: declare('posix_fadvise', 'int', ['int', LONG, LONG, 'int']),
  fdatasync: declare('fdatasync', 'int', ['int']),
  fsync: declare('fsync', 'int', ['int']),
  fcntl: declare('fcntl', 'int', ['int', 'int', LONG]),
  close: declare('close', 'int', ['int']),
  gettid: declare('gettid', 'int', []),
}

const F_DUPFD_CLOEXEC = 1030
const EBUSY = 16

/** struct iovec: base address and length, 8 bytes each. */
export const IOVEC = { BASE: 0, LENGTH: 8, SIZE: 16 } as const

/** syscall(2) by number with up to six arguments; the missing ones are 0. syscall1 to syscall4 are a little cheaper. */
export function syscall(nr: number, a0 = 0, a1 = 0, a2 = 0, a3 = 0, a4 = 0, a5 = 0): number {
  return result(c.syscall6(nr, a0, a1, a2, a3, a4, a5))
}

export function syscall1(nr: number, a0: number): number {
  return result(c.syscall1(nr, a0))
}

export function syscall2(nr: number, a0: number, a1: number): number {
  return result(c.syscall2(nr, a0, a1))
}

export function syscall3(nr: number, a0: number, a1: number, a2: number): number {
  return result(c.syscall3(nr, a0, a1, a2))
}

export function syscall4(nr: number, a0: number, a1: number, a2: number, a3: number): number {
  return result(c.syscall4(nr, a0, a1, a2, a3))
}

/** read(2): bytes read, 0 at the end. */
export function read(fd: number, address: number, length: number): number {
  return result(c.read(fd, address, length))
}

/** write(2): bytes written. */
export function write(fd: number, address: number, length: number): number {
  return result(c.write(fd, address, length))
}

/** pread(2). */
export function pread(fd: number, address: number, length: number, offset: number): number {
  return result(c.pread(fd, address, length, offset))
}

/** pwrite(2). */
export function pwrite(fd: number, address: number, length: number, offset: number): number {
  return result(c.pwrite(fd, address, length, offset))
}

/** preadv(2); `iov` is the address of `count` struct iovec (IOVEC). */
export function preadv(fd: number, iov: number, count: number, offset: number): number {
  return result(c.preadv(fd, iov, count, offset))
}

/** pwritev(2). */
export function pwritev(fd: number, iov: number, count: number, offset: number): number {
  return result(c.pwritev(fd, iov, count, offset))
}

/** preadv2(2) with RWF_* flags. */
export function preadv2(fd: number, iov: number, count: number, offset: number, flags: number): number {
  return result(c.preadv2(fd, iov, count, offset, flags))
}

/** pwritev2(2) with RWF_* flags. */
export function pwritev2(fd: number, iov: number, count: number, offset: number, flags: number): number {
  return result(c.pwritev2(fd, iov, count, offset, flags))
}

/** Copies `length` bytes; the ranges must not overlap. */
export function memcpy(to: number, from: number, length: number): void {
  c.memcpy(to, from, length)
}

/** Copies `length` bytes; the ranges may overlap. */
export function memmove(to: number, from: number, length: number): void {
  c.memmove(to, from, length)
}

/** Fills `length` bytes with the low eight bits of `byte`. */
export function memset(address: number, byte: number, length: number): void {
  c.memset(address, byte, length)
}

/** 0 when equal, else the sign says which differs upwards first. */
export function memcmp(a: number, b: number, length: number): number {
  return c.memcmp(a, b, length)
}

/** fallocate(2) with FALLOC_FL_* mode bits. */
export function fallocate(fd: number, mode: number, offset: number, length: number): number {
  return result(c.fallocate(fd, mode, offset, length))
}

/** lseek(2). Moves the offset that every descriptor of the open file description shares: pread and its like do not use it. */
export function lseek(fd: number, offset: number, whence: number): number {
  return result(c.lseek(fd, offset, whence))
}

/** posix_fadvise(2): 0 or -errno. */
export function posixFadvise(fd: number, offset: number, length: number, advice: number): number {
  return -c.posixFadvise(fd, offset, length, advice)
}

/** ftruncate(2). */
export function ftruncate(fd: number, length: number): number {
  return result(c.ftruncate(fd, length))
}

export function fdatasync(fd: number): number {
  return result(c.fdatasync(fd))
}

export function fsync(fd: number): number {
  return result(c.fsync(fd))
}

/** fcntl(2) with a Number argument (also an address). */
export function fcntl(fd: number, command: number, argument: number): number {
  return result(c.fcntl(fd, command, argument))
}

/** A new descriptor, close-on-exec, for the same open file description. */
export function dup(fd: number): number {
  return result(c.fcntl(fd, F_DUPFD_CLOEXEC, 0))
}

/**
 * close(2). -EBUSY, and the descriptor stays open, while an FdPoll of this thread watches it: closing it then would
 * abort the process.
 */
export function close(fd: number): number {
  return isPolled(fd) ? -EBUSY : result(c.close(fd))
}

/** Kernel id of the calling thread, for setAffinity and /proc. */
export function gettid(): number {
  return c.gettid()
}
