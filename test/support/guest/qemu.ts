import type { Duplex } from 'node:stream'
import { Child } from '../child.js'
import { reported } from '../deadline.js'
import type { Teardown } from '../teardown.js'
import { Qmp } from './qmp.js'

/** A QEMU process and its monitor. */
export interface Qemu {
  child: Child
  qmp: Qmp
  /** The host's ends of the chardevs `socket0`, `socket1`, ... */
  sockets: Duplex[]
}

export interface QemuOptions {
  /** The program. */
  qemu: string
  /** As `-m` takes it: `512M`, or `512M,slots=2,maxmem=1G` where DIMMs may be plugged. */
  memory: string
  cpus: number
  /** Memory in huge pages of 2 MiB, which are there (see huge-pages.ts). */
  huge?: boolean
  /** How many chardevs there are for `args` to use; they are connected sockets. */
  sockets?: number
  args: readonly string[]
}

const MONITOR_FD = 3
const HUGE = ',hugetlb=on,hugetlbsize=2M'

/**
 * Starts a machine without KVM, with memory that a vhost-user back end can map, and without any device that isn't in
 * `args`. The serial console is the process's stdout.
 */
export const startQemu = async (t: Teardown, options: QemuOptions): Promise<Qemu> => {
  const sockets = Array.from({ length: options.sockets ?? 0 }, (_, index) => MONITOR_FD + 1 + index)
  const [size] = options.memory.split(',')
  const args = [
    ...['-no-user-config', '-nodefaults', '-nographic', '-machine', 'q35,memory-backend=ram'],
    ...['-accel', 'tcg,thread=multi', '-smp', `${options.cpus}`, '-m', options.memory],
    ...[
      '-object',
      `memory-backend-memfd,id=ram,size=${size},share=on${options.huge === true ? HUGE : ''}`,
      '-serial',
      'stdio',
    ],
    ...['-chardev', `socket,id=monitor,fd=${MONITOR_FD}`, '-mon', 'chardev=monitor,mode=control'],
    ...sockets.flatMap((fd, index) => ['-chardev', `socket,id=socket${index},fd=${fd}`]),
    ...options.args,
  ]
  const child = new Child(t, 'qemu', options.qemu, args, 1 + sockets.length)
  const qmp = new Qmp(child.pipe(MONITOR_FD))
  const pipes = sockets.map((fd) => child.pipe(fd))
  for (const pipe of pipes) pipe.on('error', () => {}) // a killed QEMU resets them
  await reported(qmp.negotiate(), () => child.report())
  return { child, qmp, sockets: pipes }
}

/** The arguments of a vhost-user-scsi device. `properties` are the device's further ones. */
export const vhostUserScsi = (socketPath: string, queues: number, properties = ''): string[] => [
  ...['-chardev', `socket,id=vhost,path=${socketPath}`],
  ...['-device', `vhost-user-scsi-pci,id=scsi0,chardev=vhost,num_queues=${queues}${properties && `,${properties}`}`],
]
