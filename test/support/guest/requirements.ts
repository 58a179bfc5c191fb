import { existsSync } from 'node:fs'
import { findKernel, type Kernel } from './kernel.js'
import { findProgram } from './programs.js'

/** What the guests of every test are made of. */
export interface Requirements {
  kernel: Kernel
  qemu: string
  busybox: string
  dash: string
  /** qboot starts a kernel without looking for boot disks; undefined: QEMU's default, SeaBIOS. */
  qboot: string | undefined
}

const QBOOT = '/usr/share/qemu/qboot.rom'

/** Programs that a guest gets from this system, by name; throws when one is missing (see guestTest). */
export const guestPrograms = (names: readonly string[]): string[] =>
  names.map((name) => {
    const path = findProgram(name)
    if (path === undefined) throw new Error(`${name} is not installed`)
    return path
  })

/** What is needed for a guest and not installed here. */
export const missingRequirements = (programs: readonly string[] = []): string[] => {
  const missing = ['qemu-system-x86_64', 'busybox', 'dash', 'setpriv', ...programs].filter(
    (name) => findProgram(name) === undefined,
  )
  if (findKernel() === undefined) missing.push('a kernel in /boot with its /lib/modules')
  return missing
}

/** Throws when something is missing. */
export const findRequirements = (): Requirements => {
  const missing = missingRequirements()
  const kernel = findKernel()
  const qemu = findProgram('qemu-system-x86_64')
  const busybox = findProgram('busybox')
  const dash = findProgram('dash')
  if (kernel === undefined || qemu === undefined || busybox === undefined || dash === undefined) {
    throw new Error(`guests need ${missing.join(', ')}`)
  }
  return { kernel, qemu, busybox, dash, qboot: existsSync(QBOOT) ? QBOOT : undefined }
}

/**
 * The options of a tap test that starts guests with these programs (see findProgram): it is skipped, with the reason,
 * where QEMU, a kernel or a program is missing. With CI=true in the environment nothing is skipped, so that there it
 * fails instead.
 */
export const guestTest = (programs: readonly string[] = []): { skip: string | false } => {
  const missing = missingRequirements(programs)
  if (missing.length === 0 || process.env.CI === 'true') return { skip: false }
  return { skip: `not installed: ${missing.join(', ')}` }
}
