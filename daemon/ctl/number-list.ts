/** Lists of numbers as people write them: `0,2-5`. */

/** Numbers from ranges joined by commas, ascending, each once; undefined if the text is of another form or has a number above `max`. */
export function parseNumberList(text: string, max: number): number[] | undefined {
  const numbers = new Set<number>()
  for (const part of text.split(',')) {
    const match = /^(\d{1,9})(?:-(\d{1,9}))?$/.exec(part)
    if (match === null) return undefined
    const first = Number(match[1])
    const last = Number(match[2] ?? match[1])
    if (first > last || last > max) return undefined
    for (let number = first; number <= last; number++) numbers.add(number)
  }
  return [...numbers].sort((a, b) => a - b)
}

/** The inverse, for ascending numbers: `0,2-5`, with another separator where that is the custom. */
export function formatNumberList(numbers: readonly number[], separator = ','): string {
  const parts: string[] = []
  for (let i = 0; i < numbers.length; i++) {
    const first = numbers[i]!
    while (numbers[i + 1] === numbers[i]! + 1) i++
    parts.push(numbers[i] === first ? `${first}` : `${first}-${numbers[i]}`)
  }
  return parts.join(separator)
}
