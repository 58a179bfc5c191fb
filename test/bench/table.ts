/** A column: its title, and what it shows of a row. */
export type Column<T> = readonly [title: string, cell: (row: T) => string]

/** Rows as a Markdown table. */
export function markdownTable<T>(columns: readonly Column<T>[], rows: readonly T[]): string {
  const lines = [
    columns.map(([title]) => title),
    columns.map(() => '---'),
    ...rows.map((row) => columns.map(([, cell]) => cell(row))),
  ]
  return lines.map((cells) => `| ${cells.join(' | ')} |`).join('\n')
}

/** 1234567 as 1,234,567. */
export function grouped(n: number): string {
  return Math.round(n).toLocaleString('en-US')
}
