// Adds to an Int32 and a Uint16 of the shared memory that it inherits as descriptor 3, once the parent has raised the gate.
import { Mapping } from 'memfd-mmap'

const rounds = Number(process.argv[2])
const memory = Mapping.map({ fd: 3, length: 4096 }).view()
const words = new Int32Array(memory)
const halves = new Uint16Array(memory, 64, 8)
Atomics.store(words, 1, 1)
while (Atomics.load(words, 2) === 0);
for (let i = 0; i < rounds; i++) {
  Atomics.add(words, 0, 1)
  Atomics.add(halves, 0, 1)
}
