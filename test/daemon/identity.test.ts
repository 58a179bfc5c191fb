import fc from 'fast-check'
import t from 'tap'
import { deriveIdentity } from '../../daemon/identity.js'

t.test('the identity of a known image does not change from version to version', (t) => {
  // printf 'file\0/var/lib/disk.img' | sha256sum
  t.strictSame(deriveIdentity('file', '/var/lib/disk.img'), { serial: '5e29e70291264f852192', wwn: '3498800f03e9bc67' })
  t.end()
})

t.test('property: derived from driver and source alone, in the forms that SCSI asks for', (t) => {
  fc.assert(
    fc.property(fc.string(), fc.string(), fc.string(), (driver, a, b) => {
      const one = deriveIdentity(driver, a)
      t.strictSame(one, deriveIdentity(driver, a))
      t.match(one.serial, /^[0-9a-f]{20}$/)
      t.match(one.wwn, /^3[0-9a-f]{15}$/)
      if (a === b) return
      const other = deriveIdentity(driver, b)
      t.not(one.serial, other.serial)
      t.not(one.wwn, other.wwn)
    }),
  )
  t.not(deriveIdentity('file', 'x').wwn, deriveIdentity('memory', 'x').wwn)
  t.end()
})
