// Reads one byte at the given distance from the start of a guarded mapping of 8,192 bytes. Prints it, if it lives to.
import { createMemfd, Mapping, viewMemory } from 'memfd-mmap'
import { installGuards } from './guards.js'

installGuards()
const fd = createMemfd('guarded', 8192)
const mapping = Mapping.map({ fd, length: 8192, low: process.argv[3] === 'low' })
new Uint8Array(mapping.view()).fill(7)
const [byte] = new Uint8Array(viewMemory(mapping.address + Number(process.argv[2]), 1))
mapping.unmap()
process.stdout.write(`${byte}`)
