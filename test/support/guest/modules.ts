import { readFileSync } from 'node:fs'
import { basename, join } from 'node:path'

/** `virtio-rng.ko.xz` and `virtio_rng` are one module. */
const moduleName = (path: string): string =>
  basename(path)
    .replace(/\.ko(\.\w+)?$/, '')
    .replaceAll('-', '_')

/**
 * The files of the modules `names` and of all that they need, absolute, in an order in which insmod takes them.
 * modules.dep lists the needs of a module so that the last one is to be loaded first. Modules built into the kernel
 * are left out; an unknown name throws.
 */
export const resolveModules = (directory: string, names: readonly string[]): string[] => {
  const needs = new Map<string, { path: string; paths: string[] }>()
  for (const line of readFileSync(join(directory, 'modules.dep'), 'utf8').split('\n')) {
    const [path, rest] = line.split(':')
    if (path === undefined || rest === undefined) continue
    needs.set(moduleName(path), { path, paths: rest.split(' ').filter((word) => word !== '') })
  }
  const builtIn = new Set(readFileSync(join(directory, 'modules.builtin'), 'utf8').split('\n').map(moduleName))

  const files = new Set<string>()
  for (const name of names) {
    const entry = needs.get(moduleName(name))
    if (entry === undefined) {
      if (builtIn.has(moduleName(name))) continue
      throw new Error(`no kernel module ${name} in ${directory}`)
    }
    for (const path of [...entry.paths.toReversed(), entry.path]) files.add(join(directory, path))
  }
  return [...files]
}
