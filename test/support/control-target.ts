import {
  ControlError,
  type ControlTarget,
  type IothreadInfo,
  type LunAttachment,
  type LunInfo,
  type LunPlaceInfo,
  type LunSize,
  type NewIothread,
  type QueueInfo,
  type QueueMove,
  type StatusInfo,
  type StopInfo,
} from '../../daemon/control/target.js'

const GIB = 2 ** 30

/** A daemon's management without a daemon: two IOThreads, one controller of four queues, two LUNs. Calls are recorded. */
export class FakeControlTarget implements ControlTarget {
  /** Calls that change something, as `name argument...`. */
  readonly calls: string[] = []
  /** Thrown by the next call that changes something. */
  failure: unknown
  /** What a change waits for. */
  hold: Promise<void> = Promise.resolve()
  /** Changes of IOThreads that are under way, and the most there were at once. */
  running = 0
  mostRunning = 0
  #onCall: () => void = () => {}
  readonly #iothreads: IothreadInfo[] = [iothread('io0', [0, 1, 2, 6]), iothread('io1', null)]
  readonly #queues: QueueInfo[] = ['io0', 'io1', 'io0', 'io1'].map((id, n) => queue(n, id))
  readonly #luns: LunInfo[] = [lun('root', '/srv/root.img', 20 * GIB), lun('scratch', null, 3 * 2 ** 19)]

  status(): StatusInfo {
    return {
      version: '1.2.3',
      node: 'v20.0.0',
      pid: 4711,
      'uptime-seconds': 11_531.5,
      ready: true,
      'stop-timeout-seconds': 10,
      controllers: [
        { id: 'vm', address: '/run/vm.sock', connected: true, queues: 4, 'started-queues': 2 },
        { id: 'spare', address: 'fd 3', connected: false, queues: 64, 'started-queues': 0 },
      ],
    }
  }

  stop(): Promise<StopInfo> {
    return this.#change('stop', () => ({ 'in-flight': false }))
  }

  iothreads(): IothreadInfo[] {
    return this.#iothreads.map((iothread) => ({
      ...iothread,
      queues: this.#queues
        .filter((queue) => queue.iothread === iothread.id)
        .map(({ controller, queue }) => ({ controller, queue })),
    }))
  }

  queues(): QueueInfo[] {
    return this.#queues
  }

  luns(): LunInfo[] {
    return this.#luns
  }

  addIothread(settings: NewIothread): Promise<IothreadInfo> {
    return this.#change(`addIothread ${JSON.stringify(settings)}`, () => {
      const id = settings.id ?? `io${this.#iothreads.length}`
      if (this.#iothreads.some((iothread) => iothread.id === id)) {
        throw new ControlError('EEXIST', `IOThread "${id}" is there already`)
      }
      const added: IothreadInfo = {
        ...iothread(id, settings.cpus ?? null),
        'poll-max-ns': settings['poll-max-ns'] ?? 32768,
        origin: 'control',
      }
      this.#iothreads.push(added)
      return added
    })
  }

  freeIothread(id: string): Promise<void> {
    return this.#change(`freeIothread ${id}`, () => {
      const at = this.#iothreads.indexOf(this.#iothread(id))
      const served = this.#queues.filter((queue) => queue.iothread === id).length
      if (served > 0) throw new ControlError('EBUSY', `IOThread "${id}" serves ${served} queues`)
      this.#iothreads.splice(at, 1)
    })
  }

  attachQueue(controller: string, n: number, iothread: string): Promise<QueueMove> {
    return this.#change(`attachQueue ${controller} ${n} ${iothread}`, () => {
      const found = this.queue(controller, n)
      const from = found.iothread
      found.iothread = this.#iothread(iothread).id
      return { controller, queue: n, from, to: iothread, 'pause-ns': from === iothread ? 0 : 123_456 }
    })
  }

  queue(controller: string, n: number): QueueInfo {
    if (controller !== 'vm') throw new ControlError('ENOENT', `there is no controller "${controller}"`)
    const found = this.#queues[n]
    if (found === undefined) throw new ControlError('ENOBUFS', `controller "${controller}" has no queue ${n}`)
    return found
  }

  clearFault(id: string): Promise<void> {
    return this.#change(`clearFault ${id}`, () => {
      this.#lun(id)['write-fault'] = false
    })
  }

  refreshLun(id: string): Promise<LunSize> {
    return this.#change(`refreshLun ${id}`, () => {
      const found = this.#lun(id)
      if (found.path === null) throw new ControlError('ENOTSUP', `LUN "${id}" has a fixed size`)
      found.size += GIB
      return { size: found.size, grown: true }
    })
  }

  attachLun(controller: string, attachment: LunAttachment): Promise<LunPlaceInfo> {
    return this.#change(`attachLun ${controller} ${JSON.stringify(attachment)}`, () => {
      const found = this.#lun(attachment.id)
      if (found.controllers.some((place) => place.controller === controller)) {
        throw new ControlError('EEXIST', `controller "${controller}" has LUN "${attachment.id}"`)
      }
      const { target = 0, lun = 7, 'read-only': readOnly = found['read-only'] } = attachment
      const place = { controller, target, lun, 'read-only': readOnly }
      found.controllers.push(place)
      return { ...place, id: attachment.id }
    })
  }

  detachLun(controller: string, lun: string): Promise<void> {
    return this.#change(`detachLun ${controller} ${lun}`, () => {
      const { controllers } = this.#lun(lun)
      const at = controllers.findIndex((place) => place.controller === controller)
      if (at < 0) throw new ControlError('ENOENT', `controller "${controller}" has no LUN "${lun}"`)
      controllers.splice(at, 1)
    })
  }

  /** Resolves at the next call that changes something. */
  called(): Promise<void> {
    return new Promise((resolve) => {
      this.#onCall = resolve
    })
  }

  async #change<T>(call: string, change: () => T): Promise<T> {
    this.calls.push(call)
    this.#onCall()
    this.running++
    this.mostRunning = Math.max(this.mostRunning, this.running)
    try {
      await this.hold
      const failure = this.failure
      this.failure = undefined
      if (failure !== undefined) throw failure
      return change()
    } finally {
      this.running--
    }
  }

  #iothread(id: string): IothreadInfo {
    const found = this.#iothreads.find((iothread) => iothread.id === id)
    if (found === undefined) throw new ControlError('ENODEV', `there is no IOThread "${id}"`)
    return found
  }

  #lun(id: string): LunInfo {
    const found = this.#luns.find((lun) => lun.id === id)
    if (found === undefined) throw new ControlError('ENOENT', `there is no LUN "${id}"`)
    return found
  }
}

function iothread(id: string, cpus: number[] | null): IothreadInfo {
  return {
    id,
    tid: 5000 + id.charCodeAt(id.length - 1),
    engine: 'io_uring',
    cpus,
    'poll-max-ns': 32768,
    'poll-grow': 0,
    'poll-shrink': 0,
    origin: 'configuration',
    queues: [],
    counters: { requests: 1200, sleeps: 30, polls: 50, 'poll-hits': 20 },
    heartbeat: { answered: 10, missed: 0, 'age-seconds': id === 'io0' ? 0.25 : null },
  }
}

function queue(n: number, iothread: string): QueueInfo {
  const started = n < 2
  return {
    controller: 'vm',
    queue: n,
    iothread,
    tid: 5000 + n,
    started,
    size: started ? 256 : null,
    moves: 0,
    counters: {
      kicks: 7,
      calls: 6,
      batches: 5,
      requests: 4 * n,
      bytes: n * 5 * 2 ** 20,
      errors: 0,
      targetless: 0,
      faults: 0,
    },
  }
}

function lun(id: string, path: string | null, size: number): LunInfo {
  return {
    id,
    driver: path === null ? 'memory' : 'file',
    path,
    size,
    'block-size': 512,
    'read-only': path === null,
    'write-fault': path !== null,
    controllers: [{ controller: 'vm', target: 0, lun: path === null ? 1 : 0, 'read-only': path === null }],
  }
}
