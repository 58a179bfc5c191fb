import { ERRNO } from 'memfd-mmap'
import t from 'tap'
import { PENDING } from '../../iothreads/block-io.js'
import { type Concluding, Forwarding, MAX_FORWARDED } from '../../iothreads/forwarding.js'
import type { ForwardedCommand, ForwardedName } from '../../iothreads/messages.js'
import type { Request } from '../../iothreads/request.js'
import { RequestTable } from '../../iothreads/request-table.js'
import { STATUS, Task, type TaskAnswer } from '../../scsi/index.js'
import type { Teardown } from '../support/teardown.js'

const ANSWER: TaskAnswer = new Task().result

function setting(t: Teardown) {
  const table = new RequestTable(0, 128)
  t.teardown(() => table.release())
  const forwarded: ForwardedCommand[] = []
  const recalled: ForwardedName[] = []
  const forwarding = new Forwarding('vm', {
    forward: (command) => forwarded.push(command),
    recall: (name) => recalled.push(name),
  })
  const concluded: [request: Request, answer: TaskAnswer, ticket: number][] = []
  const queue: Concluding = {
    concluded: (request, answer) => concluded.push([request, answer, request.ticket]),
  }
  const take = (): Request => Object.assign(table.take()!, { target: 3, lun: 5 })
  return { forwarding, forwarded, recalled, concluded, queue, take }
}

t.test('what is forwarded is a copy: the request may change, and its parameters are the buffer of all', async (t) => {
  const { forwarding, forwarded, queue, take } = setting(t)
  const request = take()
  const { task } = request
  task.cdbBytes.set([0x15, 0x10, 0, 0, 4])
  task.parameters = Uint8Array.of(1, 2, 3, 4, 5, 6)
  task.transferLength = 4
  task.dataInLength = 99
  t.equal(forwarding.forward(queue, request), PENDING)
  task.cdbBytes.fill(0xff)
  task.parameters.fill(0xff)
  const [command] = forwarded
  t.match(command, { controller: 'vm', target: 3, lun: 5, dataInLength: 99 })
  t.equal(command!.ticket, request.ticket)
  t.strictSame([...command!.cdb], [0x15, 0x10, 0, 0, 4, ...new Array(27).fill(0)])
  t.strictSame([...command!.parameters], [1, 2, 3, 4])
  t.equal(command!.cdb.buffer.byteLength, 32, 'it can be transferred alone')
})

t.test('an answer finds its request, once', async (t) => {
  const { forwarding, forwarded, concluded, queue, take } = setting(t)
  const requests = [take(), take(), take()]
  for (const request of requests) forwarding.forward(queue, request)
  const tickets = forwarded.map(({ ticket }) => ticket)
  t.equal(new Set(tickets).size, 3)
  t.notOk(tickets.includes(0), '0 is none')
  const busy = { ...ANSWER, status: STATUS.BUSY }
  forwarding.conclude(tickets[1]!, busy)
  forwarding.conclude(tickets[0]!, ANSWER)
  forwarding.conclude(tickets[1]!, ANSWER)
  forwarding.conclude(12345, ANSWER)
  t.strictSame(concluded, [
    [requests[1], busy, 0],
    [requests[0], ANSWER, 0],
  ])
})

t.test('a request that is used again has another name', async (t) => {
  const { forwarding, forwarded, concluded, queue, take } = setting(t)
  const request = take()
  forwarding.forward(queue, request)
  forwarding.conclude(request.ticket, ANSWER)
  forwarding.forward(queue, request)
  forwarding.conclude(forwarded[0]!.ticket, ANSWER)
  t.equal(concluded.length, 1, 'the late answer is nobody is')
  forwarding.recall(request)
  forwarding.conclude(forwarded[1]!.ticket, ANSWER)
  t.equal(concluded.length, 2)
})

t.test('no more are forwarded than there is room for', async (t) => {
  const { forwarding, forwarded, recalled, queue, take } = setting(t)
  const requests = Array.from({ length: MAX_FORWARDED }, take)
  for (const request of requests) t.equal(forwarding.forward(queue, request), PENDING)
  const late = take()
  t.equal(forwarding.forward(queue, late), -ERRNO.EAGAIN)
  t.equal(late.ticket, 0)
  t.equal(forwarded.length, MAX_FORWARDED)
  forwarding.recall(requests[7]!)
  t.strictSame(recalled, [{ controller: 'vm', target: 3, lun: 5, ticket: requests[7]!.ticket }])
  t.equal(forwarding.forward(queue, late), -ERRNO.EAGAIN, 'it is on its way until it is concluded')
  forwarding.conclude(requests[7]!.ticket, ANSWER)
  t.equal(forwarding.forward(queue, late), PENDING)
})
