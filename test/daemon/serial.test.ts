import t from 'tap'
import { Serial } from '../../daemon/serial.js'

t.test('tasks run one after another, also after one that failed', async (t) => {
  const serial = new Serial()
  const steps: string[] = []
  let open = (): void => {}
  const gate = new Promise<void>((resolve) => {
    open = resolve
  })
  const first = serial.run(async () => {
    steps.push('first begins')
    await gate
    steps.push('first ends')
    return 1
  })
  const second = serial.run(async () => {
    steps.push('second')
    throw new Error('no')
  })
  const third = serial.run(async () => {
    steps.push('third')
    return 3
  })
  second.catch(() => {})
  open()
  t.equal(await third, 3)
  t.equal(await first, 1)
  await t.rejects(second, { message: 'no' })
  t.same(steps, ['first begins', 'first ends', 'second', 'third'])
})
