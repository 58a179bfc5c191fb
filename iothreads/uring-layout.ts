/** io_uring's kernel interface (linux/io_uring.h). Offsets in bytes unless said to be in words; native byte order. */

export const SYS_IO_URING = { SETUP: 425, ENTER: 426, REGISTER: 427 } as const

export const IORING_SETUP = {
  CQSIZE: 1 << 3,
  CLAMP: 1 << 4,
  SINGLE_ISSUER: 1 << 12,
  DEFER_TASKRUN: 1 << 13,
} as const

export const IORING_FEAT = { SINGLE_MMAP: 1 << 0, NODROP: 1 << 1, EXT_ARG: 1 << 8 } as const

export const IORING_ENTER = { GETEVENTS: 1 << 0, EXT_ARG: 1 << 3 } as const

export const IORING_OFF = { SQ_RING: 0, CQ_RING: 0x8000000, SQES: 0x10000000 } as const

export const IORING_OP = {
  READV: 1,
  WRITEV: 2,
  FSYNC: 3,
  POLL_ADD: 6,
  ASYNC_CANCEL: 14,
  FALLOCATE: 17,
  READ: 22,
  WRITE: 23,
  FADVISE: 24,
} as const

/** sqe.flags, in the first word of an entry: `fd` is an index into the registered files. */
export const IOSQE_FIXED_FILE = 1 << 8

export const IORING_REGISTER = { FILES: 2, FILES_UPDATE: 6 } as const

/** struct io_uring_files_update: where in the table, a word of zeros, and a pointer to the descriptors. */
export const FILES_UPDATE = { OFFSET: 0, RESERVED: 4, FDS: 8, SIZE: 16 } as const

export const IORING_FSYNC_DATASYNC = 1
export const IORING_POLL_ADD_MULTI = 1
export const IORING_CQE_F_MORE = 1 << 1

/** struct io_uring_params. */
export const PARAMS = {
  SQ_ENTRIES: 0,
  CQ_ENTRIES: 4,
  FLAGS: 8,
  FEATURES: 20,
  SQ_OFF: 40,
  CQ_OFF: 80,
  SIZE: 120,
} as const
/** struct io_sqring_offsets and io_cqring_offsets, within PARAMS. */
export const SQ_OFF = { HEAD: 0, TAIL: 4, RING_MASK: 8, RING_ENTRIES: 12, FLAGS: 16, DROPPED: 20, ARRAY: 24 } as const
export const CQ_OFF = { HEAD: 0, TAIL: 4, RING_MASK: 8, RING_ENTRIES: 12, OVERFLOW: 16, CQES: 20, FLAGS: 24 } as const

/** struct io_uring_sqe, in 32-bit words. The first word is opcode, flags and ioprio. */
export const SQE = { OPCODE: 0, FD: 1, OFF: 2, ADDR: 4, LEN: 6, OP_FLAGS: 7, USER_DATA: 8, WORDS: 16 } as const
/** struct io_uring_cqe, in 32-bit words. */
export const CQE = { USER_DATA: 0, RES: 2, FLAGS: 3, WORDS: 4 } as const

/** struct io_uring_getevents_arg: sigmask (u64), sigmask_sz (u32), pad, ts (u64), and after it the timespec we point to. */
export const GETEVENTS_ARG = { SIGMASK: 0, SIGMASK_SIZE: 8, TIMESPEC: 16, SIZE: 24 } as const
