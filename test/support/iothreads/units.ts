import { constants, unlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createMemfd, Mapping, openFd, raw } from 'memfd-mmap'
import type { Medium, UnitSpec } from '../../../iothreads/messages.js'
import { createGate } from '../../../iothreads/write-gate-memory.js'
import { createNexusWords, FLAG, type UnitConfig, UnitState } from '../../../scsi/index.js'
import type { Teardown } from '../teardown.js'

/** A disk of 512 byte blocks, thin provisioned. */
export function unitConfig(o: Partial<UnitConfig> = {}): UnitConfig {
  return {
    blockSize: 512,
    physicalBlockSize: 4096,
    vendor: 'TEST',
    product: 'DISK',
    revision: '1',
    serial: 'serial',
    wwn: '',
    rotationRate: 1,
    removable: false,
    discard: true,
    readOnly: false,
    ...o,
  }
}

export interface UnitOptions {
  readonly target?: number
  readonly lun?: number
  /** Bytes. */
  readonly size?: number
  readonly readOnly?: boolean
  readonly config?: Partial<UnitConfig>
  /** FLAG bits of its state. Default: WRITE_CACHE. */
  readonly flags?: number
}

export function unitSpec(medium: Medium, o: UnitOptions = {}): UnitSpec {
  const config = unitConfig(o.config)
  const state = UnitState.create((o.size ?? 2 ** 20) / config.blockSize, o.flags ?? FLAG.WRITE_CACHE)
  return {
    target: o.target ?? 0,
    lun: o.lun ?? 0,
    readOnly: o.readOnly ?? false,
    config,
    state: state.memory,
    attention: createNexusWords().buffer as SharedArrayBuffer,
    medium,
    gate: createGate(),
  }
}

export const MEDIA = ['file', 'tmpfs', 'memory'] as const
export type MediumName = (typeof MEDIA)[number]

/** A medium that holds data, zeroed, and how to look at all of it. */
export interface TestMedium {
  readonly medium: Medium
  readonly size: number
  readonly fd: number
  content(): Uint8Array
}

let images = 0

/** A descriptor of a new image of `size` bytes without a name: on the file system of temporary files, or on tmpfs. */
export function imageFd(t: Teardown, size: number, place: 'file' | 'tmpfs' = 'file'): number {
  const path = join(place === 'tmpfs' ? '/dev/shm' : tmpdir(), `vus-image-${process.pid}-${images++}`)
  const fd = openFd(path, constants.O_RDWR | constants.O_CREAT | constants.O_EXCL)
  unlinkSync(path)
  t.teardown(() => raw.close(fd))
  raw.ftruncate(fd, size)
  return fd
}

export function testMedium(t: Teardown, name: MediumName, size: number): TestMedium {
  if (name === 'memory') {
    const fd = createMemfd('medium', size)
    const mapping = Mapping.map({ fd, length: size, low: true })
    t.teardown(() => {
      raw.close(fd)
      mapping.unmap()
    })
    const content = () => new Uint8Array(mapping.view()).slice()
    return { medium: { kind: 'memory', fd, address: mapping.address }, size, fd, content }
  }
  const fd = imageFd(t, size, name)
  const medium = { kind: 'file', fd, inline: name === 'tmpfs' } as const
  return { medium, size, fd, content: () => readAll(fd, size) }
}

/** The first `size` bytes of a file. */
export function readAll(fd: number, size: number): Uint8Array {
  const copy = Mapping.anonymous(size)
  try {
    let at = 0
    while (at < size) {
      const got = raw.pread(fd, copy.address + at, size - at, at)
      if (got <= 0) throw new Error(`pread: ${got} at ${at}`)
      at += got
    }
    return new Uint8Array(copy.view()).slice()
  } finally {
    copy.unmap()
  }
}
