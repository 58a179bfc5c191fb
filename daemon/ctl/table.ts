/** Tables for people: aligned columns, numbers to the right. */
import { oneLine } from '../errors.js'

export type Cell = string | number

const GAP = '  '

/** Lines with a heading, each ended by a newline. A column of which every cell is a number, or `-`, is aligned to the right. */
export function table(heading: readonly string[], rows: readonly (readonly Cell[])[]): string {
  const lines = [heading, ...rows].map((row) => row.map((cell) => oneLine(String(cell))))
  const columns = heading.map((_, column) => ({
    width: Math.max(...lines.map((line) => line[column]!.length)),
    right: rows.length > 0 && rows.every((row) => typeof row[column] === 'number' || row[column] === '-'),
  }))
  return lines
    .map((line) => {
      const cells = columns.map(({ width, right }, i) => (right ? line[i]!.padStart(width) : line[i]!.padEnd(width)))
      return `${cells.join(GAP).trimEnd()}\n`
    })
    .join('')
}
