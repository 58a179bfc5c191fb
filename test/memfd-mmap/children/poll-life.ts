// What keeps a process with polls alive, and what lets it end. Prints the events it saw.
import { createEventfd, drainEventfd, FdPoll, MessageSocket, signalEventfd, socketPair } from 'memfd-mmap'

const collect = (globalThis as { gc?: () => void }).gc
const print = (text: string) => process.stdout.write(`${text}\n`)

const scenarios: Record<string, () => void> = {
  // Ends because the poll is closed in its own callback. The promise job must run although nothing else is on the loop.
  closed() {
    const fd = createEventfd(1)
    const poll = new FdPoll(fd, { readable: true }, () => {
      void Promise.resolve().then(() => {
        print(`job ${drainEventfd(fd)}`)
        poll.close()
      })
    })
  },
  // Ends at once.
  unreferenced() {
    new FdPoll(createEventfd(), { readable: true }, () => print('never')).unref()
    print('unreferenced')
  },
  // Ends when the parent has hung up, not before.
  referenced() {
    const socket = new MessageSocket(3)
    const bytes = new Uint8Array(16)
    const poll = new FdPoll(3, { readable: true }, () => {
      const received = socket.receive(bytes, 0, 16, [])
      print(`received ${received}`)
      if (received === 0) poll.close()
    })
    poll.unref()
    poll.ref()
    socket.send(Buffer.from('ready'), 0, 5)
  },
  // A poll that no variable refers to survives garbage collection.
  collected() {
    const fd = createEventfd()
    const register = new FinalizationRegistry(() => print('collected'))
    const start = () => {
      const poll = new FdPoll(fd, { readable: true }, () => {
        print(`event ${drainEventfd(fd)}`)
        poll.close()
      })
      register.register(poll, 0)
    }
    start()
    let rounds = 10
    const again = () => {
      collect!()
      if (rounds-- > 0) setImmediate(again)
      else signalEventfd(fd)
    }
    setImmediate(again)
  },
  // What a callback throws is an ordinary uncaught exception, and later calls are not disturbed.
  throwing() {
    const fd = createEventfd(1)
    process.on('uncaughtException', (error) => {
      print(`uncaught ${error.message}`)
      print(`later calls ${drainEventfd(fd)} ${socketPair().length}`)
      poll.close()
    })
    const poll = new FdPoll(fd, { readable: true }, () => {
      poll.set({})
      throw new Error('from the callback')
    })
  },
}

scenarios[process.argv[2]!]!()
