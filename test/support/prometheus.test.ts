import t from 'tap'
import { Metrics } from './prometheus.js'

const TEXT = `# HELP requests_total What was asked for
# TYPE requests_total counter
requests_total{queue="0",op="read"} 3
requests_total{queue="1",op="read"} 4
requests_total{queue="1",op="say \\"hi\\\\\\n\\""} 5e2 1700000000000
seconds_bucket{le="+Inf"} 7
up 1
`

t.test('samples are selected and summed by labels', async (t) => {
  const metrics = new Metrics(TEXT)
  t.equal(metrics.sum('requests_total'), 507)
  t.equal(metrics.sum('requests_total', { queue: '1', op: 'read' }), 4)
  t.equal(metrics.sum('requests_total', { queue: '2' }), 0)
  t.equal(metrics.sum('requests'), 0)
  t.same(metrics.select('up'), [{ name: 'up', labels: {}, value: 1 }])
  t.equal(metrics.select('requests_total')[2]?.labels.op, 'say "hi\\\n"')
  t.equal(metrics.select('seconds_bucket')[0]?.labels.le, '+Inf')
})

t.test('values that are no digits', async (t) => {
  const [plus, minus, nan] = new Metrics('a +Inf\na -Inf\na NaN\n').samples
  t.equal(plus?.value, Number.POSITIVE_INFINITY)
  t.equal(minus?.value, Number.NEGATIVE_INFINITY)
  t.ok(Number.isNaN(nan?.value))
})

t.test('anything else is refused', async (t) => {
  t.throws(() => new Metrics('<html>'), SyntaxError)
})
