/** Descriptors that an FdPoll of this thread watches. */
const polled = new Set<number>()

export function isPolled(fd: number): boolean {
  return polled.has(fd)
}

export function addPolled(fd: number): void {
  polled.add(fd)
}

export function deletePolled(fd: number): void {
  polled.delete(fd)
}
