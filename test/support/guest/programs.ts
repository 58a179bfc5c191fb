import { execFileSync } from 'node:child_process'
import { accessSync, constants } from 'node:fs'
import { join } from 'node:path'

const DIRECTORIES = ['/usr/local/sbin', '/usr/local/bin', '/usr/sbin', '/usr/bin', '/sbin', '/bin']

/**
 * The path of a program, also of those that only root has in PATH; undefined when it isn't installed. A path stands
 * for itself.
 */
export const findProgram = (name: string): string | undefined =>
  (name.startsWith('/') ? [name] : DIRECTORIES.map((directory) => join(directory, name))).find((path) => {
    try {
      accessSync(path, constants.R_OK)
      return true
    } catch {
      return false
    }
  })

/**
 * The shared objects that `programs` load, with the dynamic loader, by the paths under which the loader looks for
 * them.
 */
export const sharedLibraries = (programs: readonly string[]): string[] => {
  const paths = new Set<string>()
  for (const program of programs) {
    let text: string
    try {
      text = execFileSync('ldd', [program], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] })
    } catch {
      continue // ldd exits with 1 on a static program
    }
    if (text.includes('not found')) throw new Error(`${program} lacks a library:\n${text}`)
    for (const [, path] of text.matchAll(/(\/\S+) \(0x/g)) paths.add(path!)
  }
  return [...paths]
}
