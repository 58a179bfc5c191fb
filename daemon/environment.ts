import { UsageError } from './errors.js'

const PREFIX = 'VHOST_USER_SCSID_'
const SWITCH: Readonly<Record<string, boolean>> = { on: true, true: true, 1: true, off: false, false: false, 0: false }

/**
 * Flags from the environment: VHOST_USER_SCSID_SOCKET_PATH for --socket-path and so on. Variables that no flag answers to
 * are not ours to complain about.
 * @param isSwitch flag names, and whether each is one without a value
 */
export function flagsFromEnvironment(
  environment: NodeJS.ProcessEnv,
  isSwitch: Readonly<Record<string, boolean>>,
): Record<string, string | boolean> {
  const flags: Record<string, string | boolean> = {}
  for (const [flag, noValue] of Object.entries(isSwitch)) {
    const variable = PREFIX + flag.toUpperCase().replaceAll('-', '_')
    const value = environment[variable]
    if (value === undefined) continue
    if (!noValue) flags[flag] = value
    else {
      const state = SWITCH[value]
      if (state === undefined) throw new UsageError(`${variable}: expected on or off, got ${JSON.stringify(value)}`)
      flags[flag] = state
    }
  }
  return flags
}
