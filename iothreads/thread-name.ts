/** Bytes of a thread's name that the kernel keeps (TASK_COMM_LEN without the end). */
const MAX = 15
const MARK = '~'

/**
 * What /proc, top -H and ps -T show of an IOThread: its id, or of a long one its beginning and its end, which tell ids like controller0-vq1
 * and controller0-vq10 apart.
 */
export function threadName(id: string): string {
  if (id.length <= MAX) return id
  const half = (MAX - MARK.length) / 2
  return `${id.slice(0, half)}${MARK}${id.slice(-half)}`
}
