/** A run of ctl from its arguments to what it prints. */
import { oneLine, StartError } from '../errors.js'
import { ControlClient } from './client.js'
import { type CtlRequest, parseCtlCommandLine } from './command-line.js'
import { CtlError } from './errors.js'

export interface Outcome {
  /** 0: done. 1: the daemon refuses, or cannot be reached. 2: bad usage. */
  readonly status: 0 | 1 | 2
  readonly stdout: string
  /** Empty, or one line. */
  readonly stderr: string
}

/** Does what the words after `ctl` ask for. Never rejects on account of the daemon or the arguments. */
export async function runCtl(args: readonly string[], environment: NodeJS.ProcessEnv): Promise<Outcome> {
  let request: CtlRequest
  try {
    request = parseCtlCommandLine(args, environment)
  } catch (error) {
    if (error instanceof StartError) return { status: 2, stdout: '', stderr: fault(`ctl: ${error.message}`) }
    throw error
  }
  if (request.kind === 'print') return { status: 0, stdout: request.text, stderr: '' }
  const { name, json } = request
  try {
    const { answer, text, failure } = await request.run(new ControlClient(request.socket))
    const stdout = json ? (answer === undefined ? '' : `${JSON.stringify(answer, null, 2)}\n`) : text
    if (failure === undefined) return { status: 0, stdout, stderr: '' }
    return { status: 1, stdout, stderr: fault(`ctl ${name}: ${failure.message}`) }
  } catch (error) {
    if (error instanceof CtlError) return { status: 1, stdout: '', stderr: fault(`ctl ${name}: ${error.message}`) }
    throw error
  }
}

function fault(message: string): string {
  return `vhost-user-scsid: ${oneLine(message)}\n`
}
