// A thread that goes through write gates as an IOThread does, and says in shared words who is inside: for each gate and stripe the number
// of those who share it, and ALONE for one that is to be alone.
import { parentPort, workerData } from 'node:worker_threads'
import { Doorbells } from '../../../iothreads/doorbells.js'
import { BELL, BELL_WORD } from '../../../iothreads/messages.js'
import { CANCEL } from '../../../iothreads/request.js'
import type { Passer, WriteGate } from '../../../iothreads/write-gate.js'
import { WriteGates } from '../../../iothreads/write-gates.js'
import { Random } from '../random.js'

export interface GateThreadData {
  readonly doorbells: SharedArrayBuffer
  readonly row: number
  readonly gates: readonly SharedArrayBuffer[]
  /** 32 words for each gate, and one in which threads that have something to do are counted. */
  readonly inside: SharedArrayBuffer
  /** Operations to go through. */
  readonly count: number
  /** How many to have at once. */
  readonly depth: number
  /** One in so many is to be alone. */
  readonly alone: number
  /** One in so many of those that wait is cancelled. */
  readonly cancelled: number
}

export interface GateThreadResult {
  readonly passed: number
  readonly waited: number
  readonly cancelled: number
  /** What went wrong; '': nothing. */
  readonly fault: string
}

const STRIPES = 32
const ALONE = 0x10000
const MIB = 2 ** 20

class User implements Passer {
  readonly task = { action: 0, offset: 0, length: 0 }
  stripes = 0
  alone = false
  cancel: number = CANCEL.NONE
  gate: WriteGate<User> | null = null
  words = 0
}

const data = workerData as GateThreadData
const doorbells = new Doorbells(data.doorbells)
const bell = doorbells.words(data.row)
const inside = new Int32Array(data.inside)
const random = new Random(data.row + 1)
const isInside: User[] = []
let fault = ''
let passed = 0
let waited = 0
let cancelled = 0
let waiting = 0

function enter(user: User): void {
  for (let stripe = 0; stripe < STRIPES; stripe++) {
    if ((user.stripes & (1 << stripe)) === 0) continue
    const before = Atomics.add(inside, user.words + stripe, user.alone ? ALONE : 1)
    if (user.alone ? before !== 0 : before >= ALONE) fault ||= `${user.alone} beside ${before}`
  }
  isInside.push(user)
}

function leave(user: User): void {
  for (let stripe = 0; stripe < STRIPES; stripe++) {
    if ((user.stripes & (1 << stripe)) !== 0) Atomics.sub(inside, user.words + stripe, user.alone ? ALONE : 1)
  }
  passed++
  user.gate!.leave(user)
}

const gates = new WriteGates<User>(doorbells, data.row, (user) => {
  waiting--
  enter(user)
})
const sides = data.gates.map((memory) => gates.open(memory, false))

function begin(): void {
  const user = new User()
  const number = random.below(sides.length)
  user.gate = sides[number]!
  user.words = STRIPES * number
  const stripes = random.once(8) ? 1 + random.below(40) : 1
  user.task.offset = random.below(4) * MIB
  user.task.length = stripes * MIB
  if (user.gate.pass(user, stripesFor(user), random.once(data.alone))) enter(user)
  else {
    waited++
    waiting++
    if (random.once(data.cancelled)) cancel(user)
  }
}

function stripesFor({ task: { offset, length } }: User): number {
  let bits = 0
  for (let at = offset; at < offset + length; at += MIB) bits |= 1 << ((at / MIB) % STRIPES)
  return bits
}

function cancel(user: User): void {
  user.cancel = CANCEL.ABORTED
  gates.endCancelled((ended) => {
    if (ended !== user || user.stripes !== 0) fault ||= 'another one was cancelled, or one that is inside'
    waiting--
    cancelled++
  })
}

let begun = 0
const end = Date.now() + 60_000
while ((begun < data.count || waiting > 0 || isInside.length > 0) && fault === '') {
  if (begun < data.count && waiting + isInside.length < data.depth) {
    begin()
    begun++
  }
  if (isInside.length > 0 && random.once(2)) leave(isInside.splice(random.below(isInside.length), 1)[0]!)
  if ((Atomics.load(bell, BELL_WORD.BELL) & BELL.GATE) !== 0) {
    Atomics.exchange(bell, BELL_WORD.BELL, BELL.SILENT)
    gates.rang()
  }
  gates.run()
  // Nothing left to do but to wait for the others: what is not rung for now never is.
  if (isInside.length === 0 && (begun === data.count || waiting === data.depth)) {
    Atomics.wait(bell, BELL_WORD.BELL, BELL.SILENT, 1)
    if (Date.now() > end) fault ||= `${waiting} wait for ever`
  }
}
const result: GateThreadResult = { passed, waited, cancelled, fault }
parentPort!.postMessage(result)
