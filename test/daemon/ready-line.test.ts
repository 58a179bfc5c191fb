import t from 'tap'
import { resolveConfig } from '../../daemon/config.js'
import type { ControllerSettings } from '../../daemon/config-schema.js'
import { readyLine } from '../../daemon/ready-line.js'

function line(controller: ControllerSettings): string {
  return readyLine(resolveConfig({ controllers: [controller] }, { cpus: 2 }).controllers[0]!)
}

t.test('the line that says where to connect, and how', (t) => {
  t.equal(
    line({ 'socket-path': '/run/vm.sock', 'num-queues': 4 }),
    'listening on /run/vm.sock; QEMU: qemu-system-x86_64 -m 1G ' +
      '-object memory-backend-memfd,id=mem,size=1G,share=on -numa node,memdev=mem ' +
      '-chardev socket,id=vus0,path=/run/vm.sock -device vhost-user-scsi-pci,chardev=vus0,num_queues=4',
  )
  t.match(line({}), /^listening on \/.*\/vhost-user-scsi\.sock; .*num_queues=2$/, 'absolute; as many queues as threads')
  t.equal(line({ fd: 5 }), 'serving fd 5')
  t.end()
})

t.test('paths are quoted for QEMU and for the shell', (t) => {
  t.match(line({ 'socket-path': "/tmp/it's a,b" }), / 'socket,id=vus0,path=\/tmp\/it'\\''s a,,b' /)
  t.end()
})
