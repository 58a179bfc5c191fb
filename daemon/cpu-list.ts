/** Highest CPU number that a cpu_set_t of the usual size can name. */
export const MAX_CPU = 1023

/**
 * CPU numbers from text such as `0-3+6` (ranges joined by `+`; a comma would end an option's value), ascending and
 * without repetition; undefined if it is not of this form.
 */
export function parseCpuList(text: string): number[] | undefined {
  const cpus = new Set<number>()
  for (const part of text.split('+')) {
    const match = /^(\d{1,4})(?:-(\d{1,4}))?$/.exec(part)
    if (match === null) return undefined
    const first = Number(match[1])
    const last = Number(match[2] ?? match[1])
    if (first > last || last > MAX_CPU) return undefined
    for (let cpu = first; cpu <= last; cpu++) cpus.add(cpu)
  }
  return [...cpus].sort((a, b) => a - b)
}
