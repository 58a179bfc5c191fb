import fc from 'fast-check'
import t from 'tap'
import {
  assignQueues,
  MappingError,
  mappedQueueCount,
  parseMapping,
  parseMappingText,
} from '../../iothreads/queue-mapping.js'

const IDS = ['io0', 'io1', 'io2']

function assign(json: string, numQueues: number, ids = IDS): number[] {
  return assignQueues(parseMappingText(json), ids, numQueues)
}

t.test('round robin over all IOThreads without a mapping', (t) => {
  t.strictSame(assignQueues(undefined, IDS, 7), [0, 1, 2, 0, 1, 2, 0])
  t.strictSame(assignQueues(undefined, ['io0'], 3), [0, 0, 0])
  t.strictSame(assignQueues(undefined, IDS, 2), [0, 1], 'more IOThreads than queues')
  t.throws(() => assignQueues(undefined, [], 2), { code: 'VUS_IOTHREAD_VQ_MAPPING' })
  t.end()
})

t.test('round robin over the entries of a mapping, in their order', (t) => {
  t.strictSame(assign('[{"iothread":"io2"},{"iothread":"io0"}]', 5), [2, 0, 2, 0, 2])
  t.strictSame(assign('[{"iothread":"io1"}]', 3), [1, 1, 1])
  t.end()
})

t.test('explicit assignment', (t) => {
  t.strictSame(assign('[{"iothread":"io0","vqs":[0,2]},{"iothread":"io1","vqs":[1,3]}]', 4), [0, 1, 0, 1])
  t.strictSame(assign('[{"iothread":"io2","vqs":[3,1,0]},{"iothread":"io0","vqs":[2]}]', 4), [2, 2, 0, 2])
  t.end()
})

t.test('an empty list is no mapping, an empty vqs is no vqs', (t) => {
  t.equal(parseMapping([]), undefined)
  t.strictSame(assign('[]', 4), [0, 1, 2, 0])
  t.strictSame(parseMapping([{ iothread: 'io0', vqs: [] }]), [{ iothread: 'io0' }])
  t.strictSame(assign('[{"iothread":"io1","vqs":[]},{"iothread":"io0"}]', 3), [1, 0, 1])
  t.end()
})

t.test("rules, with QEMU's texts", (t) => {
  const cases: [string, number, string][] = [
    ['[{"iothread":"iox"}]', 2, 'IOThread "iox" object does not exist'],
    ['[{"iothread":"io0"},{"iothread":"io0"}]', 2, 'duplicate IOThread name "io0" in iothread-vq-mapping'],
    [
      '[{"iothread":"io0","vqs":[0]},{"iothread":"io1"}]',
      2,
      'either all items in iothread-vq-mapping must have vqs or none of them must have it',
    ],
    [
      '[{"iothread":"io0"},{"iothread":"io1","vqs":[0]}]',
      2,
      'either all items in iothread-vq-mapping must have vqs or none of them must have it',
    ],
    [
      '[{"iothread":"io0","vqs":[0,2]}]',
      2,
      'vq index 2 for IOThread "io0" must be less than num_queues 2 in iothread-vq-mapping',
    ],
    [
      '[{"iothread":"io0","vqs":[0]},{"iothread":"io1","vqs":[1,0]}]',
      2,
      'cannot assign vq 0 to IOThread "io1" because it is already assigned',
    ],
    ['[{"iothread":"io0","vqs":[1,1]}]', 2, 'cannot assign vq 1 to IOThread "io0" because it is already assigned'],
    ['[{"iothread":"io0","vqs":[0,3]}]', 4, 'missing vq 1 IOThread assignment in iothread-vq-mapping'],
  ]
  for (const [json, numQueues, message] of cases) {
    t.throws(() => assign(json, numQueues), { code: 'VUS_IOTHREAD_VQ_MAPPING', message }, json)
  }
  t.end()
})

t.test("the first broken rule in QEMU's order is the one reported", (t) => {
  t.throws(() => assign('[{"iothread":"io0","vqs":[9]},{"iothread":"iox","vqs":[0]}]', 2), {
    message: /vq index 9/,
  })
  t.throws(() => assign('[{"iothread":"io0","vqs":[0]},{"iothread":"iox"}]', 2), { message: /"iox" object/ })
  t.throws(() => assign('[{"iothread":"io0","vqs":[0]},{"iothread":"io0"}]', 2), { message: /duplicate/ })
  t.throws(() => assign('[{"iothread":"io0","vqs":[0]},{"iothread":"io1","vqs":[0]}]', 3), { message: /cannot assign/ })
  t.end()
})

t.test('structure', (t) => {
  const cases: [unknown, string | RegExp][] = [
    [{}, "Invalid parameter type for 'iothread-vq-mapping', expected: array"],
    [null, "Invalid parameter type for 'iothread-vq-mapping', expected: array"],
    [['io0'], "Invalid parameter type for 'iothread-vq-mapping[0]', expected: object"],
    [[null], "Invalid parameter type for 'iothread-vq-mapping[0]', expected: object"],
    [[[]], "Invalid parameter type for 'iothread-vq-mapping[0]', expected: object"],
    [[{}], "Parameter 'iothread-vq-mapping[0].iothread' is missing"],
    [[{ iothread: 'io0' }, { vqs: [1] }], "Parameter 'iothread-vq-mapping[1].iothread' is missing"],
    [[{ iothread: 1 }], "Invalid parameter type for 'iothread-vq-mapping[0].iothread', expected: string"],
    [[{ iothread: 'io0', queues: [] }], "Parameter 'iothread-vq-mapping[0].queues' is unexpected"],
    [[{ iothread: 'io0', vqs: 1 }], "Invalid parameter type for 'iothread-vq-mapping[0].vqs', expected: array"],
    [
      [{ iothread: 'io0', vqs: ['1'] }],
      "Invalid parameter type for 'iothread-vq-mapping[0].vqs[0]', expected: integer",
    ],
    [[{ iothread: 'io0', vqs: [0, -1] }], "Parameter 'iothread-vq-mapping[0].vqs[1]' expects uint16_t"],
    [[{ iothread: 'io0', vqs: [0.5] }], "Parameter 'iothread-vq-mapping[0].vqs[0]' expects uint16_t"],
    [[{ iothread: 'io0', vqs: [65536] }], "Parameter 'iothread-vq-mapping[0].vqs[0]' expects uint16_t"],
    [[{ iothread: 'io0', vqs: ['ctrl', 0] }], /vqs\[0\]' .*always run on the main loop/],
    [[{ iothread: 'io0', vqs: ['event'] }], /always run on the main loop/],
    [[{ iothread: 'io0', ctrl: true }], /\.ctrl' .*always run on the main loop/],
    [[{ iothread: 'io0', event: true }], /\.event' .*always run on the main loop/],
  ]
  for (const [value, message] of cases) {
    t.throws(() => parseMapping(value), { code: 'VUS_IOTHREAD_VQ_MAPPING', message }, JSON.stringify(value))
  }
  t.throws(() => parseMappingText('[{'), { message: /^iothread-vq-mapping is not JSON: / })
  t.end()
})

t.test('queue count of a mapping', (t) => {
  t.equal(mappedQueueCount([{ iothread: 'io0' }]), undefined)
  t.equal(
    mappedQueueCount([
      { iothread: 'io0', vqs: [0, 5] },
      { iothread: 'io1', vqs: [2] },
    ]),
    6,
  )
  t.end()
})

t.test('property: round robin gives entry k of n the queues k, k + n, k + 2n ...', (t) => {
  const mappings = fc.uniqueArray(fc.integer({ min: 0, max: 15 }), { minLength: 1, maxLength: 16 })
  fc.assert(
    fc.property(mappings, fc.integer({ min: 1, max: 254 }), (order, numQueues) => {
      const ids = Array.from({ length: 16 }, (_, i) => `t${i}`)
      const assignment = assignQueues(
        order.map((i) => ({ iothread: `t${i}` })),
        ids,
        numQueues,
      )
      const expected = new Array<number>(numQueues)
      order.forEach((iothread, k) => {
        for (let queue = k; queue < numQueues; queue += order.length) expected[queue] = iothread
      })
      t.strictSame(assignment, expected)
    }),
  )
  t.end()
})

t.test('property: an explicit mapping that covers each queue once is taken as it is; else it is refused', (t) => {
  const owners = fc.array(fc.integer({ min: 0, max: 3 }), { minLength: 1, maxLength: 40 })
  const ids = ['a', 'b', 'c', 'd']
  const toMapping = (owner: number[]) =>
    ids
      .map((iothread, i) => ({ iothread, vqs: owner.flatMap((o, queue) => (o === i ? [queue] : [])) }))
      .filter(({ vqs }) => vqs.length > 0)
  fc.assert(
    fc.property(owners, (owner) => {
      t.strictSame(assignQueues(parseMapping(toMapping(owner)), ids, owner.length), owner)
    }),
  )
  fc.assert(
    fc.property(owners, fc.nat(), (owner, pick) => {
      const queue = pick % owner.length
      const mapping = toMapping(owner)
      const twice = mapping.map((entry, i) => (i === 0 ? { ...entry, vqs: [...entry.vqs, queue] } : entry))
      t.throws(() => assignQueues(twice, ids, owner.length), { message: /already assigned/ })
      const without = mapping.map(({ iothread, vqs }) => ({ iothread, vqs: vqs.filter((vq) => vq !== queue) }))
      t.throws(() => assignQueues(without, ids, owner.length), {
        message: `missing vq ${queue} IOThread assignment in iothread-vq-mapping`,
      })
    }),
  )
  t.end()
})

t.test('property: any JSON value is either a mapping or refused with a MappingError', (t) => {
  fc.assert(
    fc.property(fc.jsonValue(), (value) => {
      try {
        parseMapping(value)
      } catch (error) {
        t.ok(error instanceof MappingError)
      }
    }),
  )
  t.end()
})
