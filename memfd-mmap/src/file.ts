import { constants, fstatSync, type Stats } from 'node:fs'
import { check, ERRNO, SystemError } from './errno.js'
import { declare, result, scratchAddress, scratchWords } from './libc.js'

const open = declare('open', 'int', ['str', 'int', 'uint'])
const fstatfs = declare('fstatfs', 'int', ['int', 'long'])

const O_CLOEXEC = 0x80000

/** f_type of tmpfs, also that of a memfd (statfs(2)). */
export const TMPFS_MAGIC = 0x01021994

/** f_type of hugetlbfs, also that of a memfd with MFD_HUGETLB. */
const HUGETLBFS_MAGIC = 0x958458f6

/** 4 KiB on x86-64 and, as a rule, on arm64. */
const PAGE = 4096

export type FileType = 'file' | 'block' | 'directory' | 'fifo' | 'socket' | 'char' | 'anon'

/** open(2), always close-on-exec; `flags` from node:fs constants, `mode` for files that it creates. */
export function openFd(path: string, flags: number, mode = 0o666): number {
  if (path.includes('\0')) throw new SystemError('open', ERRNO.EINVAL, 'the path contains a NUL')
  return check(result(open(path, flags | O_CLOEXEC, mode)), 'open', path)
}

function stat(fd: number): Stats {
  try {
    return fstatSync(fd)
  } catch (error) {
    throw new SystemError('fstat', (error as { errno?: number }).errno ?? ERRNO.EBADF, `descriptor ${fd}`)
  }
}

/** st_size: bytes of a regular file or memfd; 0 for devices. */
export function fileSize(fd: number): number {
  return stat(fd).size
}

const TYPES: Readonly<Record<number, FileType>> = {
  [constants.S_IFREG]: 'file',
  [constants.S_IFBLK]: 'block',
  [constants.S_IFDIR]: 'directory',
  [constants.S_IFIFO]: 'fifo',
  [constants.S_IFSOCK]: 'socket',
  [constants.S_IFCHR]: 'char',
}

/** What kind of file it is; 'anon' for eventfd, epoll and the like, which have no type bits. */
export function fileType(fd: number): FileType {
  return TYPES[stat(fd).mode & constants.S_IFMT] ?? 'anon'
}

/** f_type of the file system that the file lives on, as an unsigned 32-bit number (TMPFS_MAGIC, ...). */
export function statfsType(fd: number): number {
  check(result(fstatfs(fd, scratchAddress)), 'fstatfs', `descriptor ${fd}`)
  return scratchWords[0]!
}

/**
 * The page size that mappings of a file have: that of its huge pages on hugetlbfs, else 4096. Offsets and lengths of its mappings
 * are in such pages.
 */
export function filePageSize(fd: number): number {
  // struct statfs begins with f_type and f_bsize, a long each.
  return statfsType(fd) === HUGETLBFS_MAGIC ? scratchWords[2]! : PAGE
}
