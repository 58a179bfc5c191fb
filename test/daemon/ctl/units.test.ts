import t from 'tap'
import { formatBytes, formatNanoseconds, formatSeconds } from '../../../daemon/ctl/units.js'

t.test('bytes', (t) => {
  const cases: [number, string][] = [
    [0, '0 B'],
    [1023, '1023 B'],
    [1024, '1 KiB'],
    [1536, '1.5 KiB'],
    [20 * 2 ** 30, '20 GiB'],
    [2 ** 20 - 1, '1 MiB'],
    [2 ** 53 - 1, '8 PiB'],
    [3000 * 2 ** 50, '3000 PiB'],
  ]
  for (const [bytes, text] of cases) t.equal(formatBytes(bytes), text, `${bytes}`)
  t.end()
})

t.test('short times', (t) => {
  const cases: [number, string][] = [
    [0, '0 ns'],
    [999, '999 ns'],
    [32768, '32.8 us'],
    [123_456_789, '123.5 ms'],
    [2.5e9, '2.5 s'],
    [120e9, '120 s'],
  ]
  for (const [ns, text] of cases) t.equal(formatNanoseconds(ns), text, `${ns}`)
  t.end()
})

t.test('long times', (t) => {
  const cases: [number, string][] = [
    [0.9, '0 s'],
    [59.9, '59 s'],
    [60, '1 min'],
    [61, '1 min 1 s'],
    [11_531.5, '3 h 12 min'],
    [86_400 + 59, '1 d'],
    [40 * 86_400 + 5 * 3600, '40 d 5 h'],
  ]
  for (const [seconds, text] of cases) t.equal(formatSeconds(seconds), text, `${seconds}`)
  t.end()
})
