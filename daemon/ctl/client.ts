/** The control API's other end: one request, one answer, on a connection of its own. */
import { type IncomingMessage, request } from 'node:http'
import type { z } from 'zod'
import { errorSchema } from '../control/schemas.js'
import { errorCode, errorReason } from '../errors.js'
import { CtlError } from './errors.js'

/** As long as the server waits: a queue's I/O may take its time to end. */
const ANSWER_TIMEOUT_MS = 300_000
const MAX_ANSWER_BYTES = 64 * 2 ** 20
const EXPECTED = "expected the control socket of a running daemon (the daemon's --control-socket)"

/** What a missing or dead socket means here, in other words than for a file. */
const REASONS: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'nobody listens there',
  ECONNRESET: 'the connection was cut',
  ENOENT: 'there is no such socket',
}

interface Reply {
  readonly status: number
  readonly text: string
}

export class ControlClient {
  readonly #path: string
  readonly #timeoutMs: number

  constructor(path: string, timeoutMs: number = ANSWER_TIMEOUT_MS) {
    this.#path = path
    this.#timeoutMs = timeoutMs
  }

  /** Asks. The answer is what the schema says, and whatever else a later daemon adds. Rejects with CtlError. */
  async ask<S extends z.ZodType>(schema: S, method: string, path: string, body?: object): Promise<z.output<S>> {
    const answer = this.#parse(await this.#checked(method, path, body))
    if (schema.safeParse(answer).success) return answer as z.output<S>
    throw this.#strange(`the answer to ${method} ${path} is not of the form that this version knows`)
  }

  /** Asks for something that has no answer but that it is done. Rejects with CtlError. */
  async tell(method: string, path: string): Promise<void> {
    await this.#checked(method, path)
  }

  async #checked(method: string, path: string, body?: object): Promise<Reply> {
    const reply = await this.#send(method, path, body)
    if (reply.status >= 200 && reply.status < 300) return reply
    const refusal = errorSchema.safeParse(this.#parse(reply))
    if (!refusal.success) throw this.#strange(`HTTP status ${reply.status}`)
    const { code, message } = refusal.data.error
    throw new CtlError(code, `${message} (${code})`)
  }

  #parse({ status, text }: Reply): unknown {
    try {
      return JSON.parse(text)
    } catch {
      throw this.#strange(`HTTP status ${status} and no JSON`)
    }
  }

  #strange(what: string): CtlError {
    return new CtlError('VUS_ANSWER', `${this.#path}: ${what}: ${EXPECTED}, of this version`)
  }

  #send(method: string, path: string, body?: object): Promise<Reply> {
    const text = body === undefined ? undefined : JSON.stringify(body)
    const headers = text === undefined ? {} : { 'content-type': 'application/json', 'content-length': byteLength(text) }
    return new Promise<Reply>((resolve, reject) => {
      const fail = (error: unknown) => reject(this.#unreachable(error))
      const sent = request(
        { socketPath: this.#path, method, path, headers, agent: false, timeout: this.#timeoutMs },
        (response) => {
          read(response).then((text) => resolve({ status: response.statusCode ?? 0, text }), fail)
        },
      )
      sent.on('error', fail)
      sent.on('timeout', () => {
        reject(new CtlError('ETIMEDOUT', `${this.#path}: no answer within ${this.#timeoutMs / 1000} s`))
        sent.destroy()
      })
      sent.end(text)
    })
  }

  #unreachable(error: unknown): CtlError {
    const code = errorCode(error)
    return new CtlError(code, `${this.#path}: ${REASONS[code] ?? errorReason(error)}: ${EXPECTED}`, { cause: error })
  }
}

async function read(response: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = []
  let length = 0
  for await (const chunk of response as AsyncIterable<Buffer>) {
    length += chunk.length
    if (length > MAX_ANSWER_BYTES) throw new Error('the answer has no end')
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString('utf8')
}

function byteLength(text: string): number {
  return Buffer.byteLength(text)
}
