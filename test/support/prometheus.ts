/** One line of the Prometheus text format. */
export interface Sample {
  name: string
  labels: Record<string, string>
  value: number
}

const LINE = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})?\s+(\S+)(?:\s+-?\d+)?$/
const LABEL = /([a-zA-Z_]\w*)="((?:[^"\\]|\\.)*)"/g
const ESCAPES: Record<string, string> = { n: '\n', '\\': '\\', '"': '"' }

const unescapeLabel = (text: string): string => text.replace(/\\(.)/g, (_, c: string) => ESCAPES[c] ?? c)

/** The samples of a scrape, as a list that can be asked for sums. Throws on a line that is not of the format. */
export class Metrics {
  readonly samples: readonly Sample[]

  constructor(text: string) {
    const samples: Sample[] = []
    for (const line of text.split('\n')) {
      if (line === '' || line.startsWith('#')) continue
      const match = LINE.exec(line)
      if (match === null) throw new SyntaxError(`not a Prometheus sample: ${line}`)
      const labels: Record<string, string> = {}
      for (const [, key, value] of (match[2] ?? '').matchAll(LABEL)) labels[key!] = unescapeLabel(value!)
      samples.push({ name: match[1]!, labels, value: Number(match[3]!.replace('Inf', 'Infinity')) })
    }
    this.samples = samples
  }

  /** The samples of that name whose labels include all of `labels`. */
  select(name: string, labels: Record<string, string> = {}): Sample[] {
    const wanted = Object.entries(labels)
    return this.samples.filter((s) => s.name === name && wanted.every(([key, value]) => s.labels[key] === value))
  }

  /** Their sum; 0 when there is none. */
  sum(name: string, labels: Record<string, string> = {}): number {
    return this.select(name, labels).reduce((total, sample) => total + sample.value, 0)
  }
}
