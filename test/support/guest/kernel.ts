import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'

/** A Linux kernel that guests boot. */
export interface Kernel {
  /** The bzImage. */
  image: string
  /** What `uname -r` says in it. */
  release: string
  /** Its /lib/modules/RELEASE. */
  modules: string
}

/** The newest kernel under /boot whose modules are installed, or undefined. */
export const findKernel = (): Kernel | undefined => {
  const prefix = 'vmlinuz-'
  const names = existsSync('/boot') ? readdirSync('/boot') : []
  return names
    .filter((name) => name.startsWith(prefix))
    .map((name) => {
      const release = name.slice(prefix.length)
      return { image: join('/boot', name), release, modules: join('/lib/modules', release) }
    })
    .filter((kernel) => existsSync(join(kernel.modules, 'modules.dep')))
    .sort((a, b) => a.release.localeCompare(b.release, 'en', { numeric: true }))
    .at(-1)
}
