/** The command line of ctl: what it asks for, as a value. Nothing is printed, nothing exits. */
import yargs, { type Argv } from 'yargs'
import { listWords } from '../config-fields.js'
import { flagsFromEnvironment } from '../environment.js'
import { UsageError } from '../errors.js'
import { socketPathFault } from '../socket-path.js'
import { daemonVersion } from '../version.js'
import type { ControlClient } from './client.js'
import { type Arguments, COMMANDS, type CtlCommand, type Result } from './commands.js'

export type CtlRequest =
  | { readonly kind: 'print'; readonly text: string }
  | {
      readonly kind: 'run'
      readonly name: string
      readonly socket: string
      readonly json: boolean
      readonly run: (client: ControlClient) => Promise<Result>
    }

const USAGE = `$0 [--control-socket=PATH] [--json] COMMAND

Looks at a running daemon, and changes it, through its control socket.`

const EPILOGUE = `The socket is the daemon's --control-socket; VHOST_USER_SCSID_CONTROL_SOCKET can name it too.
Exit status: 0 when it is done, 1 if the daemon refuses or cannot be reached, 2 for bad usage.`

/** Reads what follows `ctl`, and the environment. Throws UsageError or ConfigError. */
export function parseCtlCommandLine(args: readonly string[], environment: NodeJS.ProcessEnv): CtlRequest {
  const { values, output } = parseArguments(args)
  if (output !== '') return { kind: 'print', text: `${output}\n` }
  const { _, json, ...rest } = values as { _?: unknown[]; json?: boolean | boolean[] } & Record<string, unknown>
  for (const [name, value] of Object.entries(rest)) {
    if (Array.isArray(value)) throw new UsageError(`--${name} is given ${value.length} times`)
  }
  const name = String(_?.[0])
  const given = Object.fromEntries(
    Object.entries(rest).flatMap(([key, value]) => (value === undefined ? [] : [[key, String(value)]])),
  )
  const run = COMMANDS[name]!.prepare(given)
  return { kind: 'run', name, socket: socketOf(given, environment), json: json !== undefined && json !== false, run }
}

function socketOf(given: Arguments, environment: NodeJS.ProcessEnv): string {
  const flag = 'control-socket'
  const socket = given[flag] ?? flagsFromEnvironment(environment, { [flag]: false })[flag]
  if (socket === undefined || socket === '') {
    throw new UsageError(
      "expected --control-socket=PATH or VHOST_USER_SCSID_CONTROL_SOCKET: the path of the daemon's control socket",
    )
  }
  const fault = socketPathFault(String(socket))
  if (fault !== undefined) throw new UsageError(`--control-socket: ${fault}`)
  return String(socket)
}

/** Runs yargs: what was given by name, the command as the first word, or the text that --help or --version asks for. */
function parseArguments(args: readonly string[]): { values: Record<string, unknown>; output: string } {
  let failure: string | undefined
  let output = ''
  const parser = yargs()
    .scriptName('vhost-user-scsid ctl')
    .usage(USAGE)
    .option('control-socket', { type: 'string', requiresArg: true, describe: 'the socket of the daemon' })
    .option('json', { type: 'boolean', describe: "print the API's answer" })
    .parserConfiguration({
      'boolean-negation': false,
      'camel-case-expansion': false,
      'dot-notation': false,
      'parse-numbers': false,
      'parse-positional-numbers': false,
      'short-option-groups': false,
    })
    .strict()
    .demandCommand(1, 1, 'expected a command', 'expected one command')
    .locale('en')
    .version(daemonVersion())
    .epilogue(EPILOGUE)
    .wrap(100)
    .exitProcess(false)
    .fail((message, error) => {
      failure ??= message ?? error?.message ?? 'bad usage'
    })
  for (const [name, command] of Object.entries(COMMANDS)) {
    parser.command(
      [name, ...Object.keys(command.words).map((word) => `<${word}>`)].join(' '),
      command.describe,
      (own) => declare(own, command),
    )
  }
  const values = parser.parse([...args], {}, (_error: unknown, _argv: unknown, text: string) => {
    output = text
  }) as Record<string, unknown>
  const name = (values._ as unknown[] | undefined)?.[0]
  if (name !== undefined && !Object.hasOwn(COMMANDS, String(name))) {
    throw new UsageError(`unknown command "${name}", expected ${listWords(Object.keys(COMMANDS))}`)
  }
  if (failure !== undefined) throw new UsageError(`${failure}; see ctl --help`)
  delete values.$0
  return { values, output }
}

function declare(parser: Argv, { words, options }: CtlCommand): Argv {
  let declared = parser
  for (const [word, describe] of Object.entries(words)) {
    declared = declared.positional(word, { type: 'string', describe, demandOption: true })
  }
  for (const [option, describe] of Object.entries(options)) {
    declared = declared.option(option, { type: 'string', requiresArg: true, describe })
  }
  return declared
}
