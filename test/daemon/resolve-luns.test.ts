import { realpathSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import type { LunSettings } from '../../daemon/config-schema.js'
import type { LunConfig } from '../../daemon/daemon-config.js'
import { deriveIdentity } from '../../daemon/identity.js'
import { nameLuns, resolveLuns } from '../../daemon/resolve-luns.js'
import { tempDir } from '../support/temp-dir.js'

function resolve(...luns: LunSettings[]): { luns: LunConfig[]; faults: string[] } {
  const faults: string[] = []
  return { luns: resolveLuns(nameLuns(luns), faults), faults }
}

t.test('names', (t) => {
  const ids = nameLuns([{}, { id: 'root' }, { id: 'disk1' }, {}, {}]).map(({ id }) => id)
  t.strictSame(ids, ['disk0', 'root', 'disk1', 'disk2', 'disk3'])
  t.end()
})

t.test('defaults', (t) => {
  const { luns, faults } = resolve({ driver: 'memory' })
  t.strictSame(faults, [])
  t.strictSame(luns, [
    {
      id: 'disk0',
      driver: 'memory',
      size: 2 ** 30,
      readOnly: false,
      discard: 'unmap',
      blockSize: 512,
      physicalBlockSize: 512,
      ...deriveIdentity('memory', 'disk0'),
      vendor: 'VUSCSID',
      product: 'VIRTUAL DISK',
      revision: '0001',
      rotationRate: 1,
      removable: false,
      writeCache: true,
      delayUs: 0,
      locking: 'auto',
      shareRw: false,
    },
  ])
  t.end()
})

t.test('a file: its driver, size and identity come from the image', (t) => {
  const dir = realpathSync(tempDir(t))
  const path = join(dir, 'disk.img')
  writeFileSync(path, 'x'.repeat(8192))
  symlinkSync(path, join(dir, 'link'))
  const { luns, faults } = resolve({ path: join(dir, 'link'), 'read-only': true, 'block-size': 4096 })
  t.strictSame(faults, [])
  t.match(luns, [{ driver: 'file', path, size: 8192, readOnly: true, blockSize: 4096, physicalBlockSize: 4096 }])
  t.match(luns, [deriveIdentity('file', path)])
  t.end()
})

t.test('what is given wins', (t) => {
  const { luns } = resolve({
    driver: 'null',
    size: 2 ** 20,
    serial: 'S1',
    wwn: '5000c500deadbeef',
    vendor: 'V',
    product: 'P',
    revision: 'R',
    'rotation-rate': 0,
    'write-cache': false,
    'physical-block-size': 4096,
    'delay-us': 10,
    discard: 'ignore',
  })
  t.match(luns, [
    {
      size: 2 ** 20,
      serial: 'S1',
      wwn: '5000c500deadbeef',
      vendor: 'V',
      product: 'P',
      revision: 'R',
      rotationRate: 0,
      writeCache: false,
      physicalBlockSize: 4096,
      delayUs: 10,
      discard: 'ignore',
    },
  ])
  t.end()
})

t.test('faults', (t) => {
  const dir = realpathSync(tempDir(t))
  const path = join(dir, 'disk.img')
  writeFileSync(path, 'x'.repeat(1536))
  const cases: [LunSettings, string][] = [
    [{}, 'expected path=FILE, or driver=memory or driver=null'],
    [{ driver: 'file' }, 'driver=file needs path=FILE'],
    [{ driver: 'memory', path }, 'path has no meaning with driver=memory'],
    [{ path, size: 1536 }, 'size has no meaning with driver=file'],
    [{ driver: 'memory', 'delay-us': 5 }, 'delay-us has no meaning with driver=memory'],
    [{ driver: 'null', locking: 'off' }, 'locking has no meaning with driver=null'],
    [{ driver: 'memory', size: 1000 }, 'size 1000 is not a multiple of the block size 512'],
    [
      { driver: 'memory', 'block-size': 4096, 'physical-block-size': 512 },
      'physical-block-size 512 is less than the block size 4096',
    ],
    [{ path, 'block-size': 4096 }, `${path}: its size 1536 is not a multiple of the block size 4096`],
    [{ path: join(dir, 'none') }, `${join(dir, 'none')}: no such file or directory`],
  ]
  for (const [lun, fault] of cases) {
    t.strictSame(resolve(lun), { luns: [], faults: [`LUN "disk0": ${fault}`] }, JSON.stringify(lun))
  }
  const twice = resolve({ id: 'a', driver: 'null' }, { id: 'a', driver: 'memory' })
  t.strictSame(twice.faults, ['LUN id "a" is used twice'])
  t.end()
})

t.test('one image, several LUNs: only to read', (t) => {
  const path = join(realpathSync(tempDir(t)), 'disk.img')
  writeFileSync(path, 'x'.repeat(512))
  t.strictSame(resolve({ path, 'read-only': true }, { path, 'read-only': true }).faults, [])
  const fault = [`LUN "disk1": ${path}: is the image of LUN "disk0" already`]
  t.strictSame(resolve({ path }, { path, 'read-only': true }).faults, fault)
  t.strictSame(resolve({ path, 'read-only': true }, { path }).faults, fault)
  t.end()
})
