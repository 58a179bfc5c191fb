import t from 'tap'
import { BUFFER_BYTES, UnitBuffers } from '../../scsi/unit-buffers.js'
import { fixture } from './support/fixture.js'

t.test('one data buffer, and an echo buffer for each nexus', async (t) => {
  const buffers = new UnitBuffers()
  const { unitNexus, join } = fixture()
  t.equal(buffers.data.length, BUFFER_BYTES.DATA)
  t.ok(buffers.data.every((byte) => byte === 0))
  const bytes = Uint8Array.of(1, 2)
  buffers.setEcho(unitNexus, bytes)
  t.same(buffers.echo(unitNexus), bytes)
  t.equal(buffers.echo(join('other').unitNexus), undefined)
})
