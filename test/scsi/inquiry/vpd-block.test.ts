import t from 'tap'
import { blockDeviceCharacteristics, blockLimits, logicalBlockProvisioning } from '../../../scsi/inquiry/vpd-block.js'
import { CONFIG } from '../support/fixture.js'
import { hex, normal } from '../support/hex.js'

t.test('Block Limits of a thin provisioned disk', async (t) => {
  t.equal(
    hex(blockLimits(CONFIG)),
    normal(
      '01 ff 00 08 7f ff ff ff 00*4 00*4 00 10 00 00 00 00 01 00 00 00 00 08 80 00 00 00 00 00 00 00 00 10 00 00 00 00 08 00 00*16',
    ),
  )
  const large = { ...CONFIG, blockSize: 4096, physicalBlockSize: 4096, discardGranularity: 65536 }
  t.match(hex(blockLimits(large)), /^01 20 00 01 7f ff ff ff /)
  t.equal(hex(blockLimits(large).subarray(24, 28)), '00 00 00 10')
  t.equal(hex(blockLimits(large).subarray(40)), normal('00 00 01 00 00*16'))
})

t.test('Block Limits without UNMAP and WRITE ATOMIC', async (t) => {
  t.equal(
    hex(blockLimits({ ...CONFIG, discard: false, atomicWrites: false })),
    normal('01 ff 00 08 00*28 00 00 00 00 00 10 00 00 00*20'),
  )
})

t.test('Block Device Characteristics', async (t) => {
  t.equal(hex(blockDeviceCharacteristics(CONFIG)), normal('00 01 00 40 00*56'))
  t.equal(hex(blockDeviceCharacteristics({ ...CONFIG, rotationRate: 7200 })), normal('1c 20 00 40 00*56'))
  t.equal(hex(blockDeviceCharacteristics({ ...CONFIG, discard: false })), normal('00 01 00*58'))
})

t.test('Logical Block Provisioning', async (t) => {
  t.equal(hex(logicalBlockProvisioning(CONFIG)), normal('00 e4 02 00'))
  t.equal(hex(logicalBlockProvisioning({ ...CONFIG, spaceThreshold: 5 })), normal('0b e4 02 00'))
  t.equal(hex(logicalBlockProvisioning({ ...CONFIG, blockSize: 4096, spaceThreshold: 5 })), normal('08 e4 02 00'))
})
