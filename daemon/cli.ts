/**
 * The command line: what it asks for, as a value. Nothing is printed, nothing exits.
 */
import yargs, { type Options } from 'yargs'
import { resolveConfig } from './config.js'
import { readConfigFile } from './config-file.js'
import type { Settings } from './config-schema.js'
import { type DaemonConfig, LOG_FORMATS, LOG_LEVELS } from './daemon-config.js'
import { flagsFromEnvironment } from './environment.js'
import { UsageError } from './errors.js'
import { type Flags, mergeSettings, settingsFromFlags } from './flags.js'
import { daemonVersion } from './version.js'

export type Command =
  | { readonly kind: 'print'; readonly text: string }
  | { readonly kind: 'serve'; readonly config: DaemonConfig }

const LUN_KEYS =
  'id, target, lun, driver (file, memory or null), path, size, read-only, discard (unmap or ignore), block-size, ' +
  'physical-block-size, serial, wwn, vendor, product, revision, rotation-rate, write-cache, locking (auto or off), share-rw, delay-us'

const FLAGS: Readonly<Record<string, { describe: string; group: string; isSwitch?: boolean; hidden?: boolean }>> = {
  'socket-path': { group: 'Socket:', describe: 'listen there [./vhost-user-scsi.sock]' },
  fd: { group: 'Socket:', describe: 'use this inherited descriptor: a listening or a connected socket' },
  'socket-mode': { group: 'Socket:', describe: 'permission bits of the socket, such as 0660' },
  'socket-group': { group: 'Socket:', describe: 'group of the socket' },
  lun: { group: 'Disks:', describe: `KEY=VALUE[,KEY=VALUE...], repeatable; ",," is a comma; keys: ${LUN_KEYS}` },
  iothread: {
    group: 'Queues:',
    describe: 'id=NAME[,cpus=0-3+6][,poll-max-ns=N][,poll-grow=N][,poll-shrink=N], repeatable [min(4, CPUs) of them]',
  },
  'iothread-vq-mapping': {
    group: 'Queues:',
    describe: `QEMU's JSON: [{"iothread":"io0","vqs":[0,2]},{"iothread":"io1","vqs":[1,3]}] [round robin]`,
  },
  'worker-per-virtqueue': { group: 'Queues:', describe: 'one IOThread for each request queue', isSwitch: true },
  'num-queues': { group: 'Queues:', describe: 'request queues offered, 1..254 [64]' },
  config: { group: 'Daemon:', describe: 'JSON file with all of this; flags add to its lists and win otherwise' },
  'metrics-listen': { group: 'Daemon:', describe: 'HOST:PORT or unix:PATH for /metrics, /healthz and /readyz [off]' },
  'control-socket': { group: 'Daemon:', describe: 'serve the control API there, for `vhost-user-scsid ctl` [off]' },
  'stop-timeout': { group: 'Daemon:', describe: 'seconds that I/O in flight is given at the end [10]' },
  'log-level': { group: 'Daemon:', describe: `${LOG_LEVELS.join(', ')} [info]` },
  'log-format': { group: 'Daemon:', describe: `${LOG_FORMATS.join(' or ')}, on stderr [text]` },
  // main.ts answers this one before anything else is looked at.
  'print-capabilities': {
    group: 'Daemon:',
    describe: 'print what this back end is, as JSON, and exit',
    isSwitch: true,
  },
  'state-dir': {
    group: 'Daemon:',
    describe: 'keep reservations, mode pages and unit attentions there [$STATE_DIRECTORY; else nowhere]',
  },
  takeover: {
    group: 'Daemon:',
    describe: 'take over from the daemon that is live at --control-socket, if there is one',
    isSwitch: true,
  },
}

/** Of each pair one can be given: where the command line has one, the environment's other is out. */
const EXCLUSIVE = [
  ['socket-path', 'fd'],
  ['takeover', 'fd'],
  ['iothread-vq-mapping', 'worker-per-virtqueue'],
] as const

/** Reads arguments (without node and script) and environment, and the files that they name. Throws StartError. */
export function parseCommandLine(args: readonly string[], environment: NodeJS.ProcessEnv): Command {
  const { flags, output } = parseArguments(args)
  if (output !== '') return { kind: 'print', text: `${output}\n` }
  const inherited = flagsFromEnvironment(
    environment,
    Object.fromEntries(Object.entries(FLAGS).map(([name, { isSwitch }]) => [name, isSwitch === true])),
  )
  for (const [one, other] of EXCLUSIVE) {
    if (flags[one] !== undefined) delete inherited[other]
    if (flags[other] !== undefined) delete inherited[one]
  }
  const settings = settingsFrom({ ...inherited, ...flags })
  // systemd has one directory, or several (systemd.exec(5), StateDirectory=).
  const stateDir = settings['state-dir'] ?? environment.STATE_DIRECTORY?.split(':')[0]
  return { kind: 'serve', config: resolveConfig({ ...settings, ...(stateDir && { 'state-dir': stateDir }) }) }
}

function settingsFrom(flags: Flags): Settings {
  const settings = settingsFromFlags(flags)
  if (flags.config === undefined) return settings
  if (Array.isArray(flags.config)) throw new UsageError(`--config is given ${flags.config.length} times`)
  const file = String(flags.config)
  return mergeSettings(readConfigFile(file), settings, file)
}

/** Runs yargs: the flags that were given, or the text that --help or --version asks for. */
function parseArguments(args: readonly string[]): { flags: Record<string, unknown>; output: string } {
  let failure: string | undefined
  let output = ''
  const options = Object.fromEntries(Object.entries(FLAGS).map(([name, flag]) => [name, yargsOption(flag)]))
  const parser = yargs()
    .scriptName('vhost-user-scsid')
    .usage(
      '$0 [serve] [options]\n$0 ctl COMMAND        (for a daemon that runs: see ctl --help)\n\n' +
        'Serves SCSI disks to a virtual machine over vhost-user.',
    )
    .command(['serve', '$0'], false, (command) => command.options(options))
    .parserConfiguration({
      'boolean-negation': false,
      'camel-case-expansion': false,
      'dot-notation': false,
      'parse-numbers': false,
      'parse-positional-numbers': false,
      'short-option-groups': false,
    })
    .strict()
    .locale('en')
    .version(daemonVersion())
    .epilogue(
      'An option can also come from the environment: VHOST_USER_SCSID_SOCKET_PATH for --socket-path and so on.\n' +
        'Exit status: 0 after SIGTERM or SIGINT, 1 for a fault at run time, 2 for bad usage or configuration.',
    )
    .wrap(100)
    .exitProcess(false)
    .fail((message, error) => {
      failure ??= message ?? error?.message ?? 'bad usage'
    })
  const parsed = parser.parse([...args], {}, (_error: unknown, _argv: unknown, text: string) => {
    output = text
  }) as Record<string, unknown>
  const words = (parsed._ ?? []) as readonly unknown[]
  const extra = words[0] === 'serve' ? words.slice(1) : words
  if (extra.length > 0) failure ??= `Unknown argument: ${extra.join(', ')}`
  if (failure !== undefined) throw new UsageError(`${failure}; see --help`)
  const flags = Object.fromEntries(
    Object.keys(FLAGS).flatMap((name) => (parsed[name] === undefined ? [] : [[name, parsed[name]]])),
  )
  return { flags, output }
}

function yargsOption({ describe, group, isSwitch, hidden }: (typeof FLAGS)[string]): Options {
  return isSwitch === true
    ? { type: 'boolean', describe, group, hidden: hidden === true }
    : { type: 'string', requiresArg: true, describe, group, hidden: hidden === true }
}
