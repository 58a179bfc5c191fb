/** Tables for people: aligned columns, numbers to the right. */
import { oneLine } from '../errors.js'

export type Cell = string | number

const GAP = '  '

/** Lines with a heading, each ended by a newline. Columns of numbers, and of `-` where one is missing, are aligned to the right. */
export function table(heading: readonly string[], rows: readonly (readonly Cell[])[]): string {
  const lines = [heading, ...rows].map((row) => row.map((cell) => oneLine(String(cell))))
  const columns = heading.map((_, column) => ({
    width: Math.max(...lines.map((line) => line[column]!.length)),
    right: isNumeric(rows.map((row) => row[column]!)),
  }))
  return lines
    .map((line) => {
      const cells = columns.map(({ width, right }, i) => (right ? line[i]!.padStart(width) : line[i]!.padEnd(width)))
      return `${cells.join(GAP).trimEnd()}\n`
    })
    .join('')
}

function isNumeric(cells: readonly Cell[]): boolean {
  const rest = cells.filter((cell) => cell !== '-')
  return rest.length > 0 && rest.every((cell) => typeof cell === 'number')
}
