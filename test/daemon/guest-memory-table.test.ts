import { closeSync, mkdtempSync, openSync } from 'node:fs'
import { join } from 'node:path'
import { close, createEventfd, createMemfd, F_SEAL_GROW, F_SEAL_SEAL, F_SEAL_SHRINK, Mapping } from 'memfd-mmap'
import t, { type Test } from 'tap'
import type { MemoryRegion } from 'vhost-user-protocol-ts'
import { GuestMemoryTable } from '../../daemon/guest-memory-table.js'
import { sharedMappings } from '../support/proc.js'
import { tempDir } from '../support/temp-dir.js'

const PAGE = 4096

const region = (guestAddress: number, size: number, mmapOffset = 0): MemoryRegion => ({
  guestAddress,
  size,
  userAddress: guestAddress + 2 ** 40,
  mmapOffset,
})

function memfd(t: Test, size: number, name = 'guest'): number {
  const fd = createMemfd(name, size)
  t.teardown(() => close(fd))
  return fd
}

/** How often a memfd of this name is mapped in this process. */
const mapped = (name: string): number =>
  sharedMappings(process.pid).filter((line) => line.includes(`/memfd:${name} `)).length

t.test('a region is mapped at its offset, and in the table once it is put there', async (t) => {
  const table = new GuestMemoryTable()
  const fd = memfd(t, 3 * PAGE, 'one')
  const whole = Mapping.map({ fd, length: 3 * PAGE })
  t.teardown(() => whole.unmap())
  const entry = table.map(region(2 ** 32, PAGE, PAGE), fd)
  t.same(table.regions, [])
  t.equal(table.memory.translate(2 ** 32, 1), -1)
  const memory = GuestMemoryTable.memoryOf(table.with(entry))
  t.same(table.replace(table.with(entry), memory), [])
  t.equal(table.memory, memory)
  t.match(table.regions, [{ guestAddress: 2 ** 32, size: PAGE, userAddress: 2 ** 32 + 2 ** 40 }])
  t.ok(table.memory.write(2 ** 32 + 5, Uint8Array.of(1, 2, 3), 0, 3))
  t.same([...new Uint8Array(whole.view(PAGE + 4, 5))], [0, 1, 2, 3, 0])
  GuestMemoryTable.unmap(table.replace([], GuestMemoryTable.memoryOf([])))
})

t.test('what is no longer in the table is handed out, to be unmapped when nobody uses it', async (t) => {
  const table = new GuestMemoryTable()
  const [a, b, c] = ['a', 'b', 'c'].map((name, i) => table.map(region(i * PAGE, PAGE), memfd(t, PAGE, `gone-${name}`)))
  const put = (entries: Parameters<GuestMemoryTable['replace']>[0]) =>
    table.replace(entries, GuestMemoryTable.memoryOf(entries))
  t.same(put([a!, b!]), [])
  t.same(table.without(a!), [b!])
  t.same(table.with(c!), [a!, b!, c!])
  const gone = put([b!, c!])
  t.same(gone, [a!])
  t.equal(mapped('gone-a'), 1, 'still mapped')
  GuestMemoryTable.unmap(gone)
  t.same(['gone-a', 'gone-b', 'gone-c'].map(mapped), [0, 1, 1])
  GuestMemoryTable.unmap(put([]))
  t.same(['gone-a', 'gone-b', 'gone-c'].map(mapped), [0, 0, 0])
})

t.test('what did not get into the table is discarded, and what is in it stays', async (t) => {
  const table = new GuestMemoryTable()
  const kept = table.map(region(0, PAGE), memfd(t, PAGE, 'kept'))
  table.replace([kept], GuestMemoryTable.memoryOf([kept]))
  const refused = table.map(region(PAGE, PAGE), memfd(t, PAGE, 'refused'))
  table.discard([kept, refused])
  t.same(['kept', 'refused'].map(mapped), [1, 0])
  GuestMemoryTable.unmap(table.replace([], GuestMemoryTable.memoryOf([])))
})

t.test('regions are found by addresses and size', async (t) => {
  const table = new GuestMemoryTable()
  const entry = table.map(region(PAGE, PAGE, PAGE), memfd(t, 2 * PAGE))
  table.replace([entry], GuestMemoryTable.memoryOf([entry]))
  t.equal(table.find(region(PAGE, PAGE, PAGE)), entry)
  t.equal(table.find(region(PAGE, PAGE, 0)), entry, 'the offset does not matter')
  t.equal(table.find(region(PAGE, 2 * PAGE)), undefined)
  t.equal(table.find(region(2 * PAGE, PAGE)), undefined)
  t.equal(table.find({ ...region(PAGE, PAGE), userAddress: 5 }), undefined)
  GuestMemoryTable.unmap(table.replace([], GuestMemoryTable.memoryOf([])))
})

t.test('what cannot be mapped is refused', async (t) => {
  const table = new GuestMemoryTable()
  const small = { name: 'DeviceError', code: 'VUS_REGION_FILE_SIZE' }
  const impossible = { name: 'DeviceError', code: 'VUS_REGION_MAP' }
  const fd = memfd(t, PAGE, 'short')
  t.throws(() => table.map(region(0, PAGE + 1), fd), small)
  t.throws(() => table.map(region(0, PAGE, 1), fd), small)
  const eventfd = createEventfd()
  t.teardown(() => close(eventfd))
  t.throws(() => table.map(region(0, PAGE), eventfd), small, 'nothing to map')
  t.throws(() => table.map(region(0, 2 ** 50), memfd(t, 2 ** 51)), impossible, 'more than there are addresses')
  const directory = mkdtempSync(join(tempDir(t), 'd'))
  const dirFd = openSync(directory, 'r')
  t.throws(() => table.map(region(0, 1), dirFd), { name: 'DeviceError' }, 'a directory')
  closeSync(dirFd)
  t.throws(() => table.map(region(0, PAGE), 9999), impossible, 'no descriptor')
  t.equal(mapped('short'), 0)
})

t.test('files that can shrink', async (t) => {
  const fd = (...seals: number[]): number => {
    const sealed = createMemfd(
      'sealed',
      PAGE,
      seals.reduce((all, seal) => all | seal, 0),
    )
    t.teardown(() => close(sealed))
    return sealed
  }
  t.equal(GuestMemoryTable.canShrink(fd(F_SEAL_SHRINK, F_SEAL_SEAL)), false)
  t.equal(GuestMemoryTable.canShrink(fd(F_SEAL_GROW)), true)
  t.equal(GuestMemoryTable.canShrink(fd()), true)
  const file = openSync(join(tempDir(t), 'file'), 'w+')
  t.equal(GuestMemoryTable.canShrink(file), true, 'a file has no seals')
  closeSync(file)
})
