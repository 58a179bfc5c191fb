import { readdirSync, readFileSync } from 'node:fs'
import { join, posix } from 'node:path'
import t from 'tap'
import ts from 'typescript'

// Which folder may import what. Folders reach the two workspace packages by name, the others by relative path.
const ROOT = join(import.meta.dirname, '..', '..')
const FOLDERS = ['memfd-mmap', 'protocol', 'scsi', 'iothreads', 'daemon', 'test'] as const
type Folder = (typeof FOLDERS)[number]

const PACKAGES: Readonly<Record<string, Folder>> = { 'memfd-mmap': 'memfd-mmap', 'vhost-user-protocol-ts': 'protocol' }

interface Rule {
  /** Other folders that may be imported. */
  folders: readonly Folder[]
  /** node: modules. */
  node: boolean
  /** npm packages other than our own: those named, or any but koffi. */
  npm: readonly string[] | 'any'
}

const RULES: Readonly<Record<Folder, Rule>> = {
  scsi: { folders: [], node: false, npm: [] },
  'memfd-mmap': { folders: [], node: true, npm: ['koffi'] },
  protocol: { folders: ['memfd-mmap'], node: true, npm: [] },
  iothreads: { folders: ['scsi', 'protocol', 'memfd-mmap'], node: true, npm: [] },
  daemon: { folders: ['iothreads', 'scsi', 'protocol', 'memfd-mmap'], node: true, npm: 'any' },
  test: { folders: ['daemon', 'iothreads', 'scsi', 'protocol', 'memfd-mmap'], node: true, npm: 'any' },
}

function isFolder(name: string): name is Folder {
  return (FOLDERS as readonly string[]).includes(name)
}

/** What is wrong with an import of `specifier` in `file` (a path from the root); undefined when nothing is. */
function fault(file: string, specifier: string): string | undefined {
  const from = file.split('/')[0]!
  if (!isFolder(from)) return `${file}: lies in no folder that has a rule`
  const rule = RULES[from]
  const wrong = (what: string) => `${file}: ${from} must not import ${what}`

  if (specifier.startsWith('.') || specifier.startsWith('/')) {
    const target = posix.join(posix.dirname(file), specifier)
    const to = target.split('/')[0]!
    if (specifier.startsWith('/') || !isFolder(to)) return wrong(`${specifier}, which is outside the folders`)
    if (to === from) return undefined
    if (Object.values(PACKAGES).includes(to)) return wrong(`${specifier} by its path: ${to} is a package`)
    return rule.folders.includes(to) ? undefined : wrong(specifier)
  }
  if (specifier.startsWith('node:')) return rule.node ? undefined : wrong(specifier)
  const name = specifier.split('/', specifier.startsWith('@') ? 2 : 1).join('/')
  const to = Object.hasOwn(PACKAGES, name) ? PACKAGES[name] : undefined
  if (to !== undefined) {
    if (to === from) return wrong(`${specifier}, which is itself`)
    return rule.folders.includes(to) ? undefined : wrong(specifier)
  }
  const allowed = rule.npm === 'any' ? name !== 'koffi' : rule.npm.includes(name)
  return allowed ? undefined : wrong(specifier)
}

/** The faults of one source file: static and dynamic imports, re-exports, types. */
function faults(file: string, source: string): string[] {
  const found: string[] = []
  for (const { fileName } of ts.preProcessFile(source, true, true).importedFiles) {
    const text = fault(file, fileName)
    if (text !== undefined) found.push(text)
  }
  return found
}

/** Every TypeScript file below a folder, as paths from the root. */
function sources(folder: string): string[] {
  return readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' })
    .filter((path) => /\.[cm]?ts$/.test(path) && !/(^|\/)(dist|node_modules|\.tap)\//.test(path))
    .map((path) => posix.join(folder, path))
}

t.test('imports run downwards', async (t) => {
  let files = 0
  for (const folder of FOLDERS) {
    for (const file of sources(folder)) {
      files++
      t.strictSame(faults(file, readFileSync(join(ROOT, file), 'utf8')), [], file)
    }
  }
  t.ok(files > 20, `${files} files were read`)
  t.ok(sources('memfd-mmap').includes('memfd-mmap/src/libc.ts'))
  t.ok(sources('test').includes('test/imports.test.ts'))
})

t.test('violations are found', async (t) => {
  const bad: [string, string][] = [
    ['scsi/target.ts', "import { readFileSync } from 'node:fs'"],
    ['scsi/target.ts', "import type { Ring } from '../iothreads/ring.js'"],
    ['scsi/target.ts', "import { syscall } from 'memfd-mmap'"],
    ['scsi/inquiry/vpd.ts', "export * from '../../daemon/index.js'"],
    ['protocol/virtio/virtqueue.ts', "import { Task } from '../../scsi/index.js'"],
    ['protocol/virtio/virtqueue.ts', "const x = await import('../../iothreads/loop.js')"],
    ['protocol/index.ts', "import { z } from 'zod'"],
    ['protocol/index.ts', "import { x } from 'vhost-user-protocol-ts'"],
    ['iothreads/loop.ts', "import { log } from '../daemon/log.js'"],
    ['iothreads/loop.ts', "import koffi from 'koffi'"],
    ['iothreads/loop.ts', "import { Virtqueue } from '../protocol/virtio/virtqueue.js'"],
    ['iothreads/loop.ts', "import pino from 'pino'"],
    ['iothreads/loop.ts', "import fs from 'fs'"],
    ['memfd-mmap/src/raw.ts', "import { x } from 'vhost-user-protocol-ts'"],
    ['memfd-mmap/src/raw.ts', "import { x } from '../../scsi/index.js'"],
    ['daemon/main.ts', "import { FakeGuest } from '../test/support/guest.js'"],
    ['daemon/main.ts', "import { load } from 'koffi'"],
    ['daemon/main.ts', "import { x } from 'koffi/indirect'"],
    ['daemon/main.ts', "import { x } from '../memfd-mmap/src/libc.js'"],
    ['daemon/main.ts', "import { x } from '../../elsewhere/x.js'"],
    ['daemon/main.ts', "import { x } from '/srv/x.js'"],
    ['test/scsi/target.test.ts', "const koffi = require('koffi')"],
    ['tools/x.ts', "import 'node:fs'"],
  ]
  for (const [file, source] of bad) t.equal(faults(file, source).length, 1, `${file}: ${source}`)
  t.equal(faults('scsi/a.ts', "import 'node:fs'\nimport './b.js'\nimport '../test/c.js'").length, 2)
})

t.test('what is allowed is let through', async (t) => {
  const good: [string, string][] = [
    ['scsi/inquiry/vpd.ts', "import { SENSE } from '../sense.js'"],
    ['memfd-mmap/src/libc.ts', "import koffi from 'koffi'\nimport { endianness } from 'node:os'"],
    ['protocol/vhost-user/connection.ts', "import { MessageSocket } from 'memfd-mmap'"],
    [
      'iothreads/loop.ts',
      "import '../scsi/index.js'\nimport 'vhost-user-protocol-ts'\nimport 'memfd-mmap'\nimport 'node:fs'",
    ],
    [
      'daemon/main.ts',
      "import yargs from 'yargs'\nimport { hideBin } from 'yargs/helpers'\nimport '../iothreads/index.js'",
    ],
    ['test/daemon/x.test.ts', "import t from 'tap'\nimport '../../daemon/config.js'\nimport '../support/child.js'"],
  ]
  for (const [file, source] of good) t.strictSame(faults(file, source), [], file)
})
