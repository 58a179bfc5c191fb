import t from 'tap'
import { ForwardedCommands } from '../../daemon/forwarded-commands.js'
import type { LunNexus } from '../../daemon/lun.js'
import type { ForwardedTask } from '../../iothreads/index.js'

function forwarded(controller: string, target: number, lun: number): ForwardedTask {
  const command = { controller, target, lun, ticket: 1 }
  return { command, conclude: () => {} } as unknown as ForwardedTask
}

function setting(failure?: Error) {
  const done: [what: string, task: ForwardedTask, nexus?: LunNexus][] = []
  const failures: unknown[] = []
  const nexus: LunNexus = {
    executor: {
      execute: async (task: ForwardedTask, through: LunNexus) => {
        if (failure !== undefined) throw failure
        done.push(['execute', task, through])
      },
      recall: (task: ForwardedTask) => done.push(['recall', task]),
    },
  } as unknown as LunNexus
  const commands = new ForwardedCommands(
    (controller, target, lun) => (controller === 'vm' && target === 3 && lun === 5 ? nexus : undefined),
    (error) => failures.push(error),
  )
  return { commands, nexus, done, failures }
}

/** Turns of the event loop: what has been resolved has had its effect. */
const settled = () => new Promise(setImmediate)

t.test('a command goes to the unit that its controller has at its address, in order', async (t) => {
  const { commands, nexus, done, failures } = setting()
  const [first, second] = [forwarded('vm', 3, 5), forwarded('vm', 3, 5)]
  commands.forwarded(first)
  commands.forwarded(second)
  commands.recalled(second)
  await settled()
  t.strictSame(
    done.map(([what]) => what),
    ['execute', 'execute', 'recall'],
  )
  t.equal(done[0]![1], first)
  t.equal(done[0]![2], nexus)
  t.equal(done[2]![1], second)
  t.same(failures, [])
})

t.test('a unit that is not there, and an error of ours, are told of', async (t) => {
  const { commands, done, failures } = setting()
  commands.forwarded(forwarded('vm', 3, 6))
  commands.recalled(forwarded('other', 3, 5))
  await settled()
  t.same(done, [])
  t.match(failures, [{ message: /controller vm, target 3, LUN 6/ }, { message: /controller other/ }])
  const failing = setting(new Error('a bug'))
  failing.commands.forwarded(forwarded('vm', 3, 5))
  await settled()
  t.match(failing.failures, [{ message: 'a bug' }])
})
