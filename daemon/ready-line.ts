import { resolve } from 'node:path'
import type { ControllerConfig } from './daemon-config.js'
import { escapeValue } from './key-value.js'
import { DEFAULT_NUM_QUEUES } from './resolve-controllers.js'

/**
 * The line that says a controller can be connected to, with the QEMU command line to paste. The guest's memory has to be
 * shared for vhost-user, hence the memory back end.
 */
export function readyLine(controller: ControllerConfig): string {
  if (controller.socketPath === undefined) return `serving fd ${controller.fd}`
  const path = resolve(controller.socketPath)
  const words = [
    'qemu-system-x86_64',
    '-m 1G',
    '-object memory-backend-memfd,id=mem,size=1G,share=on',
    '-numa node,memdev=mem',
    `-chardev ${quote(`socket,id=vus0,path=${escapeValue(path)}`)}`,
    `-device vhost-user-scsi-pci,chardev=vus0,num_queues=${suggestedQueues(controller)}`,
  ]
  return `listening on ${path}; QEMU: ${words.join(' ')}`
}

/** As many as were asked for; where that was left open, as many as run in parallel. */
function suggestedQueues({ numQueues, queueToIothread }: ControllerConfig): number {
  return numQueues < DEFAULT_NUM_QUEUES ? numQueues : Math.min(numQueues, new Set(queueToIothread).size)
}

/** A word for a POSIX shell. */
function quote(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`
}
