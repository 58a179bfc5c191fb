import t from 'tap'
import { SENSE } from '../../../scsi/sense.js'
import { fixture } from '../support/fixture.js'
import { bytes, normal } from '../support/hex.js'
import type { Reply } from '../support/initiator.js'

const { initiator, unit } = fixture()

function report(options: number, opcode = 0, action = 0, allocationLength = 0xffff): ReturnType<typeof initiator.send> {
  const length = [allocationLength >>> 24, allocationLength >>> 16, allocationLength >>> 8, allocationLength]
  return initiator.send(Uint8Array.from([0xa3, 0x0c, options, opcode, action >>> 8, action, ...length, 0, 0]))
}

t.test('all commands, as the table has them', async (t) => {
  const { dataIn } = report(0)
  const view = new DataView(dataIn.buffer, dataIn.byteOffset)
  t.equal(view.getUint32(0), dataIn.length - 4)
  t.equal(dataIn.length, 4 + 8 * unit.commands.commands.length)
  for (const [i, command] of unit.commands.commands.entries()) {
    const at = 4 + 8 * i
    t.equal(dataIn[at], command.opcode)
    t.equal(view.getUint16(at + 2), Math.max(command.serviceAction, 0))
    t.equal(dataIn[at + 5], command.serviceAction >= 0 ? 1 : 0)
    t.equal(view.getUint16(at + 6), command.length)
  }
  t.equal(report(0).data.slice(12, 59), normal('00 00 00 00 00 00 00 06 03 00 00 00 00 00 00 06'))
})

t.test('with timeouts', async (t) => {
  const { dataIn } = report(0x80)
  t.equal(dataIn.length, 4 + 20 * unit.commands.commands.length)
  t.equal(report(0x80).data.slice(12, 71), normal('00 00 00 00 00 02 00 06 00 0a 00*2 00*4 00 00 00 1e'))
  t.equal(report(0x81, 0x42).data, normal('00 83 00 0a 42 00*6 ff ff 00 00 0a 00*2 00*4 00 00 00 78'))
})

t.test('one command by opcode', async (t) => {
  t.equal(report(1, 0x28).data, normal('00 03 00 0a 28 18 ff ff ff ff 00 ff ff 00'))
  t.equal(report(1, 0x12).data, normal('00 03 00 06 12 01 ff ff ff 00'))
  t.equal(report(1, 0x28, 7).data, normal('00 03 00 0a 28 18 ff ff ff ff 00 ff ff 00'))
  t.equal(report(1, 0xc0).data, normal('00 01 00 00'))
  t.equal(report(0x81, 0xc0).data, normal('00 01 00 00'))
  t.equal(report(1, 0x9e).sense, normal('70 00 05 00*4 0a 00*4 24 00 00 ca 00 02'))
})

t.test('one command by opcode and service action', async (t) => {
  t.equal(report(2, 0x9e, 0x10).data, normal('00 03 00 10 9e 10 ff*12 01 00'))
  t.equal(report(2, 0xa3, 0x0d).data, normal('00 03 00 0c a3 0d 80 00*3 ff*4 00 00'))
  for (const action of [0x11, 0x20, 0x110, 0xffff]) t.equal(report(2, 0x9e, action).data, normal('00 01 00 00'))
  t.equal(report(2, 0x28).senseCode, SENSE.INVALID_FIELD_IN_CDB)
  t.equal(report(2, 0xc0).data, normal('00 01 00 00'))
})

t.test('one command of either kind', async (t) => {
  t.equal(report(3, 0x9e, 0x10).data, normal('00 03 00 10 9e 10 ff*12 01 00'))
  t.equal(report(3, 0x9e, 0x11).data, normal('00 01 00 00'))
  t.equal(report(3, 0x28).data, normal('00 03 00 0a 28 18 ff ff ff ff 00 ff ff 00'))
  t.equal(report(3, 0x28, 1).data, normal('00 01 00 00'))
  t.equal(report(3, 0xc0).data, normal('00 01 00 00'))
})

t.test('reserved reporting options, and ALLOCATION LENGTH', async (t) => {
  for (const options of [4, 5, 6, 7]) t.equal(report(options).senseCode, SENSE.INVALID_FIELD_IN_CDB)
  t.equal(report(0x08).senseCode, SENSE.INVALID_FIELD_IN_CDB)
  t.equal(report(1, 0x28, 0, 6).data, normal('00 03 00 0a 28 18'))
  t.equal(report(0, 0, 0, 0).data, '')
})

/** Whether a command was refused as one that is not there; of some opcodes it is the service action that is refused. */
function isUnknown({ senseCode, sense }: Reply, hasActions: boolean): boolean {
  const atServiceAction = senseCode === SENSE.INVALID_FIELD_IN_CDB && sense.endsWith('cc 00 01')
  return senseCode === SENSE.INVALID_COMMAND_OPERATION_CODE || (hasActions && atServiceAction)
}

t.test('what is reported agrees with what is run, for every opcode and service action', async (t) => {
  for (const discard of [true, false]) {
    const { initiator } = fixture({ discard })
    for (let opcode = 0; opcode < 256; opcode++) {
      const byOpcode = initiator.send(Uint8Array.from([0xa3, 0x0c, 1, opcode, 0, 0, 0, 0, 1, 0, 0, 0]))
      const hasActions = byOpcode.status !== 0
      for (let action = 0; action < 32; action++) {
        const reported = hasActions
          ? initiator.send(Uint8Array.from([0xa3, 0x0c, 2, opcode, 0, action, 0, 0, 1, 0, 0, 0]))
          : byOpcode
        const supported = (reported.dataIn[1]! & 7) === 3
        const run = initiator.send(Uint8Array.from([opcode, action, ...bytes('00*14')]), { out: new Uint8Array(4096) })
        if (supported === isUnknown(run, hasActions)) {
          t.fail(`opcode ${opcode}, byte 1 ${action}: reported ${supported}, run: ${run.sense}`)
        }
        if (supported) {
          t.equal(reported.dataIn[4], opcode)
          if (hasActions) t.equal(reported.dataIn[5]! & 0x1f, action)
        }
      }
    }
  }
})

t.test('all commands and one command tell the same', async (t) => {
  const all = report(0).dataIn.slice()
  for (let at = 4; at < all.length; at += 8) {
    const one = report(3, all[at], (all[at + 2]! << 8) | all[at + 3]!)
    t.match([...one.dataIn.subarray(0, 5)], [0, 3, all[at + 6], all[at + 7], all[at]])
  }
})

t.test('task management functions', async (t) => {
  t.equal(initiator.send('a3 0d 00 00*3 00 00 00 ff 00 00').data, normal('dc 03 00 00'))
  t.equal(initiator.send('a3 0d 80 00*3 00 00 00 ff 00 00').data, normal('dc 03 00 0c 00*12'))
  t.equal(initiator.send('a3 0d 80 00*3 00 00 00 04 00 00').data, normal('dc 03 00 0c'))
  t.equal(initiator.send('a3 0d 01 00*3 00 00 00 ff 00 00').senseCode, SENSE.INVALID_FIELD_IN_CDB)
})
