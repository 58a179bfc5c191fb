import t from 'tap'
import { DISK_COMMANDS, FULL_DISK_COMMANDS, STATUS } from '../../../scsi/index.js'
import { fixture } from '../support/fixture.js'
import { bytes, hex, normal } from '../support/hex.js'
import { VECTORS } from './index.js'

for (const vector of VECTORS) {
  t.test(`${vector.command}: ${vector.cdb}`, async (t) => {
    const all = fixture(vector.config)
    vector.before?.(all)
    const cdb = bytes(vector.cdb)
    t.equal(all.unit.commands.find(cdb).name, vector.command)
    const reply = all.initiator.send(cdb, {
      ...(vector.out !== undefined && { out: vector.out }),
      ...(vector.in !== undefined && { in: vector.in }),
    })
    t.equal(reply.status, vector.status ?? (vector.sense === undefined ? STATUS.GOOD : STATUS.CHECK_CONDITION))
    t.equal(reply.sense, normal(vector.sense ?? ''))
    t.equal(hex(reply.dataIn), normal(vector.data ?? ''))
    t.equal(reply.overrun, false)
    if (vector.residual !== undefined) t.equal(reply.residual, vector.residual)
    if (vector.medium !== undefined) {
      const [offset, content] = vector.medium
      const expected = bytes(content)
      t.equal(hex(all.medium.bytes.subarray(offset, offset + expected.length)), hex(expected))
    }
  })
}

t.test('every command has a vector that is GOOD, and one that is refused', async (t) => {
  for (const { commands } of [DISK_COMMANDS, FULL_DISK_COMMANDS]) {
    for (const { name } of commands) {
      const own = VECTORS.filter(({ command }) => command === name)
      t.ok(
        own.some((vector) => vector.sense === undefined && (vector.status ?? STATUS.GOOD) === STATUS.GOOD),
        `${name}: GOOD`,
      )
      t.ok(
        own.some((vector) => vector.sense !== undefined || (vector.status ?? STATUS.GOOD) !== STATUS.GOOD),
        `${name}: refused`,
      )
    }
  }
})

t.test('no command is there twice, and none that is in no table', async (t) => {
  const names = new Set([...DISK_COMMANDS.commands, ...FULL_DISK_COMMANDS.commands].map(({ name }) => name))
  for (const { command } of VECTORS) t.ok(names.has(command), command)
})
