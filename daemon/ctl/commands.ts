/** The commands of ctl: what each takes, asks the daemon, and shows. */
import { z } from 'zod'
import { iothreadSchema as iothreadSettings, lunPlaceSchema, MAX_QUEUES } from '../config-schema.js'
import * as schemas from '../control/schemas.js'
import type { QueueMove } from '../control/target.js'
import { UsageError } from '../errors.js'
import { validate } from '../validate.js'
import type { ControlClient } from './client.js'
import { CtlError } from './errors.js'
import { parseNumberList } from './number-list.js'
import { formatBytes } from './units.js'
import * as views from './views.js'

/** Words and options of a command line, by name; what was not given is absent. */
export type Arguments = Readonly<Record<string, string>>

export interface Result {
  /** What the API answered; absent: nothing but that it is done. */
  readonly answer?: unknown
  /** The same for people. */
  readonly text: string
  /** What went wrong after a part was done. */
  readonly failure?: CtlError
}

export interface CtlCommand {
  /** Names of the words that must follow, in their order, and what each is. */
  readonly words: Readonly<Record<string, string>>
  readonly options: Readonly<Record<string, string>>
  readonly describe: string
  /** Checks the arguments, throwing UsageError or ConfigError, and says what is to be done: rejects with CtlError. */
  prepare(args: Arguments): (client: ControlClient) => Promise<Result>
}

const QUEUES = 'all, or request queues such as 0,2-5'

export const COMMANDS: Readonly<Record<string, CtlCommand>> = {
  status: {
    words: {},
    options: {},
    describe: 'the daemon and its controllers',
    prepare: () => async (client) => {
      const answer = await client.ask(schemas.statusSchema, 'GET', '/v1/status')
      return { answer, text: views.statusView(answer) }
    },
  },
  stop: {
    words: {},
    options: {},
    describe: 'end the daemon when its I/O has ended, as SIGTERM does',
    prepare: () => async (client) => {
      const answer = await client.ask(schemas.stopSchema, 'POST', '/v1/stop')
      return { answer, text: answer['in-flight'] ? 'stopped, with I/O left in flight\n' : 'stopped\n' }
    },
  },
  iothreads: {
    words: {},
    options: {},
    describe: 'IOThreads: settings, heartbeats, queues',
    prepare: () => async (client) => {
      const answer = await client.ask(z.array(schemas.iothreadSchema), 'GET', '/v1/iothreads')
      return { answer, text: views.iothreadsView(answer) }
    },
  },
  queues: {
    words: {},
    options: {},
    describe: 'request queues: their IOThreads and counters',
    prepare: () => async (client) => {
      const answer = await client.ask(z.array(schemas.queueSchema), 'GET', '/v1/queues')
      return { answer, text: views.queuesView(answer) }
    },
  },
  luns: {
    words: {},
    options: {},
    describe: 'LUNs, with CONTROLLER:TARGET:LUN of each',
    prepare: () => async (client) => {
      const answer = await client.ask(z.array(schemas.lunSchema), 'GET', '/v1/luns')
      return { answer, text: views.lunsView(answer) }
    },
  },
  'iothread-add': {
    words: {},
    options: {
      id: 'its name [one is picked]',
      cpus: 'CPUs that it may run on, such as 0-3+6 [any]',
      'poll-max-ns': 'longest busy-polling before sleeping, ns; 0: never [32768]',
      'poll-grow': 'factor by which the polling time grows; 0: 2 [0]',
      'poll-shrink': 'divisor by which it shrinks; 0: to none at once [0]',
    },
    describe: 'start an IOThread, which serves nothing yet',
    prepare: addIothread,
  },
  'iothread-free': {
    words: { ID: 'the IOThread' },
    options: {},
    describe: 'end an IOThread that serves nothing',
    prepare:
      ({ ID }) =>
      async (client) => {
        await client.tell('DELETE', path`/v1/iothreads/${ID!}`)
        return { text: `${ID}: freed\n` }
      },
  },
  'queue-attach': {
    words: { CONTROLLER: 'the controller', QUEUES, IOTHREAD: 'the IOThread that shall serve them' },
    options: {},
    describe: 'give queues to an IOThread, while I/O runs',
    prepare: attachQueues,
  },
  'queue-worker': {
    words: { CONTROLLER: 'the controller', QUEUE: 'a request queue, counted from 0' },
    options: {},
    describe: 'one request queue and its IOThread',
    prepare: ({ CONTROLLER, QUEUE }) => {
      const numbers = parseNumberList(QUEUE!, MAX_QUEUES - 1)
      if (numbers?.length !== 1) throw expected('QUEUE', `a request queue from 0 to ${MAX_QUEUES - 1}`, QUEUE!)
      return async (client) => {
        const answer = await client.ask(schemas.queueSchema, 'GET', queuePath(CONTROLLER!, numbers[0]!))
        return { answer, text: views.queuesView([answer]) }
      }
    },
  },
  'lun-clear-fault': {
    words: { ID: 'the LUN' },
    options: {},
    describe: 'take writes again after a failed flush',
    prepare:
      ({ ID }) =>
      async (client) => {
        await client.tell('POST', path`/v1/luns/${ID!}/clear-fault`)
        return { text: `${ID}: no write fault\n` }
      },
  },
  'lun-refresh': {
    words: { ID: 'the LUN' },
    options: {},
    describe: 'serve what an image has grown by',
    prepare:
      ({ ID }) =>
      async (client) => {
        const answer = await client.ask(schemas.lunSizeSchema, 'POST', path`/v1/luns/${ID!}/refresh`)
        return { answer, text: `${ID}: ${formatBytes(answer.size)}, ${answer.grown ? 'grown' : 'as before'}\n` }
      },
  },
  'lun-attach': {
    words: { CONTROLLER: 'the controller', ID: 'the LUN, one of the configuration' },
    options: {
      target: 'its target there [0]',
      lun: 'its LUN number there [the lowest that is free]',
      'read-only': 'on: the guest may not write to it [as the LUN is]',
    },
    describe: 'give a LUN to a controller, while its guest runs',
    prepare: attachLun,
  },
  'lun-detach': {
    words: { CONTROLLER: 'the controller', ID: 'the LUN' },
    options: {},
    describe: 'take a LUN away from a controller, while its guest runs',
    prepare:
      ({ CONTROLLER, ID }) =>
      async (client) => {
        await client.tell('DELETE', path`/v1/controllers/${CONTROLLER!}/luns/${ID!}`)
        return { text: `${ID}: detached from ${CONTROLLER}\n` }
      },
  },
}

function addIothread(args: Arguments): (client: ControlClient) => Promise<Result> {
  const fields = iothreadSettings.shape
  const settings = Object.fromEntries(
    (Object.keys(fields) as (keyof typeof fields)[]).flatMap((key) =>
      args[key] === undefined ? [] : [[key, validate(fields[key], args[key], `--${key}`)]],
    ),
  )
  return async (client) => {
    const answer = await client.ask(schemas.iothreadSchema, 'POST', '/v1/iothreads', settings)
    return { answer, text: views.iothreadsView([answer]) }
  }
}

function attachLun({ CONTROLLER, ID, ...options }: Arguments): (client: ControlClient) => Promise<Result> {
  const fields = lunPlaceSchema.omit({ id: true }).shape
  const place = Object.fromEntries(
    (Object.keys(fields) as (keyof typeof fields)[]).flatMap((key) =>
      options[key] === undefined ? [] : [[key, validate(fields[key], options[key], `--${key}`)]],
    ),
  )
  return async (client) => {
    const luns = path`/v1/controllers/${CONTROLLER!}/luns`
    const answer = await client.ask(schemas.lunPlaceSchema, 'POST', luns, { id: ID, ...place })
    const access = answer['read-only'] ? ', read-only' : ''
    return { answer, text: `${ID}: attached to ${CONTROLLER} at target ${answer.target} lun ${answer.lun}${access}\n` }
  }
}

function attachQueues({ CONTROLLER, QUEUES, IOTHREAD }: Arguments): (client: ControlClient) => Promise<Result> {
  const numbers = QUEUES === 'all' ? 'all' : parseNumberList(QUEUES!, MAX_QUEUES - 1)
  if (numbers === undefined) throw expected('QUEUES', `all, or request queues such as 0,2-5`, QUEUES!)
  return async (client) => {
    const moves: QueueMove[] = []
    let failure: CtlError | undefined
    for (const queue of numbers === 'all' ? await queuesOf(client, CONTROLLER!) : numbers) {
      try {
        const place = queuePath(CONTROLLER!, queue)
        moves.push(await client.ask(schemas.queueMoveSchema, 'PUT', place, { iothread: IOTHREAD }))
      } catch (error) {
        if (!(error instanceof CtlError)) throw error
        // What has been moved stays so, and is shown.
        failure = error
        break
      }
    }
    const text = moves.length > 0 ? views.movesView(moves) : ''
    return { answer: moves, text, ...(failure !== undefined && { failure }) }
  }
}

async function queuesOf(client: ControlClient, controller: string): Promise<number[]> {
  const queues = await client.ask(z.array(schemas.queueSchema), 'GET', '/v1/queues')
  const own = queues.filter((each) => each.controller === controller).map(({ queue }) => queue)
  if (own.length === 0) throw new CtlError('ENOENT', `controller "${controller}" does not exist (ENOENT)`)
  return own
}

function queuePath(controller: string, queue: number): string {
  return path`/v1/controllers/${controller}/queues/${queue}`
}

function path(parts: TemplateStringsArray, ...values: (string | number)[]): string {
  return String.raw({ raw: parts }, ...values.map(encodeURIComponent))
}

function expected(word: string, what: string, given: string): UsageError {
  return new UsageError(`${word}: expected ${what}, got ${JSON.stringify(given)}`)
}
