import t from 'tap'
import { threadName } from '../../iothreads/thread-name.js'

t.test('short ids are names', async (t) => {
  for (const id of ['i', 'io0', 'controller0-vq1']) t.equal(threadName(id), id)
})

t.test('of long ones both ends are seen', async (t) => {
  t.equal(threadName('controller0-vq10'), 'control~r0-vq10')
  t.equal(threadName('a-name-of-more-than-fifteen'), 'a-name-~fifteen')
  t.equal(threadName('x'.repeat(64)), 'xxxxxxx~xxxxxxx')
})

t.test('the IOThreads of 254 queues have different names, none longer than the kernel keeps', async (t) => {
  for (const controller of ['vm', 'controller0', 'a-controller-with-a-long-name']) {
    const names = Array.from({ length: 254 }, (_, queue) => threadName(`${controller}-vq${queue}`))
    t.equal(new Set(names).size, 254)
    t.ok(names.every((name) => name.length <= 15))
  }
})
