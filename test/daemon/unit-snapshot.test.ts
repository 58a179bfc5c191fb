import t from 'tap'
import { parseSnapshot, snapshotText, type UnitSnapshot } from '../../daemon/unit-snapshot.js'
import { NO_RESERVATIONS } from '../../scsi/index.js'

const SNAPSHOT: UnitSnapshot = {
  bootId: 'boot',
  wwn: '3000000000000001',
  serial: 's',
  flags: 2,
  defaults: 2,
  reservations: NO_RESERVATIONS,
  attentions: { a: 5, b: 0 },
}

t.test('there and back', async (t) => {
  t.same(parseSnapshot(snapshotText(SNAPSHOT)), SNAPSHOT)
})

t.test('what is none', async (t) => {
  const text = snapshotText(SNAPSHOT)
  for (const cut of [0, 1, text.length / 2, text.length - 3]) t.equal(parseSnapshot(text.slice(0, cut)), undefined)
  const changed = (change: object) => parseSnapshot(JSON.stringify({ ...JSON.parse(text), ...change }))
  t.same(changed({}), SNAPSHOT)
  for (const change of [
    { version: 2 },
    { bootId: 1 },
    { wwn: null },
    { serial: 3 },
    { flags: '2' },
    { defaults: 0.5 },
    { reservations: {} },
    { attentions: [] },
    { attentions: { a: 'x' } },
  ]) {
    t.equal(changed(change), undefined, JSON.stringify(change))
  }
  for (const other of ['', 'null', '[]', '7', '"text"']) t.equal(parseSnapshot(other), undefined, other)
})
