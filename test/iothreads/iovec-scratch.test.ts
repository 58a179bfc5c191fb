import { IOVEC, Mapping, memcpy } from 'memfd-mmap'
import t from 'tap'
import { IovecScratch } from '../../iothreads/iovec-scratch.js'
import { ownAddressSpace } from '../support/iothreads/own-process.js'

t.test('one struct iovec, in native memory', async (t) => {
  const scratch = new IovecScratch()
  t.teardown(() => scratch.release())
  const copy = Mapping.anonymous(4096)
  t.teardown(() => copy.unmap())
  const view = new DataView(copy.view())
  for (const [address, length] of [
    [0x7fff_ffff_f000, 0x3fff_ffff],
    [4096, 1],
  ] as const) {
    const at = scratch.point(address, length)
    memcpy(copy.address, at, IOVEC.SIZE)
    t.equal(view.getBigUint64(IOVEC.BASE, true), BigInt(address))
    t.equal(view.getBigUint64(IOVEC.LENGTH, true), BigInt(length))
  }
})

t.test('release gives the memory back', async (t) => {
  new IovecScratch().release()
  const before = ownAddressSpace()
  for (let i = 0; i < 2000; i++) new IovecScratch().release()
  t.ok(ownAddressSpace() - before < 2000 * 4096)
})
