import t from 'tap'
import { checkUnitConfig, discardGranularity, type UnitConfig, UnitConfigError } from '../../scsi/unit-config.js'
import { CONFIG } from './support/fixture.js'

t.test('what a unit can be', async (t) => {
  for (const changes of [
    {},
    { blockSize: 4096, physicalBlockSize: 4096 },
    { physicalBlockSize: 512 * 2 ** 15 },
    { serial: 'x'.repeat(36), vendor: '12345678', product: 'x'.repeat(16), revision: '1234' },
    { serial: '', wwn: '', vendor: '', product: '', revision: '' },
    { rotationRate: 0 },
    { rotationRate: 7200 },
    { discardGranularity: 512 },
    { discardGranularity: 1 << 20 },
  ] satisfies Partial<UnitConfig>[]) {
    t.doesNotThrow(() => checkUnitConfig({ ...CONFIG, ...changes }))
  }
})

t.test('what it cannot be', async (t) => {
  const faults: [keyof UnitConfig, Partial<UnitConfig>][] = [
    ['blockSize', { blockSize: 520 }],
    ['blockSize', { blockSize: 0 }],
    ['physicalBlockSize', { physicalBlockSize: 256 }],
    ['physicalBlockSize', { physicalBlockSize: 1536 }],
    ['physicalBlockSize', { physicalBlockSize: 512 * 2 ** 16 }],
    ['physicalBlockSize', { blockSize: 4096, physicalBlockSize: 512 }],
    ['physicalBlockSize', { physicalBlockSize: Number.NaN }],
    ['vendor', { vendor: '123456789' }],
    ['product', { product: 'x'.repeat(17) }],
    ['revision', { revision: '12345' }],
    ['serial', { serial: 'x'.repeat(37) }],
    ['serial', { serial: 'caf\u00e9' }],
    ['vendor', { vendor: 'a\nb' }],
    ['wwn', { wwn: '0x30010203040506' }],
    ['wwn', { wwn: '30010203' }],
    ['rotationRate', { rotationRate: 2 }],
    ['rotationRate', { rotationRate: 65535 }],
    ['rotationRate', { rotationRate: 7200.5 }],
    ['discardGranularity', { discardGranularity: 1000 }],
    ['discardGranularity', { discardGranularity: 0 }],
  ]
  for (const [member, changes] of faults) {
    t.throws(
      () => checkUnitConfig({ ...CONFIG, ...changes }),
      { code: 'VUS_UNIT_CONFIG', member },
      JSON.stringify(changes),
    )
  }
  t.throws(() => checkUnitConfig({ ...CONFIG, blockSize: 1 }), UnitConfigError)
})

t.test('deallocation works in 4 KiB unless told otherwise', async (t) => {
  t.equal(discardGranularity(CONFIG), 4096)
  t.equal(discardGranularity({ ...CONFIG, discardGranularity: 65536 }), 65536)
})
