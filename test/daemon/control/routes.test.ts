import t from 'tap'
import * as routes from '../../../daemon/control/routes.js'

t.strictSame(
  Object.fromEntries(Object.entries(routes).map(([name, { method, path }]) => [name, `${method} ${path}`])),
  {
    addIothread: 'post /v1/iothreads',
    attachLun: 'post /v1/controllers/{id}/luns',
    attachQueue: 'put /v1/controllers/{id}/queues/{n}',
    clearFault: 'post /v1/luns/{id}/clear-fault',
    detachLun: 'delete /v1/controllers/{id}/luns/{lun}',
    freeIothread: 'delete /v1/iothreads/{id}',
    getIothread: 'get /v1/iothreads/{id}',
    getQueue: 'get /v1/controllers/{id}/queues/{n}',
    getStatus: 'get /v1/status',
    listIothreads: 'get /v1/iothreads',
    listLuns: 'get /v1/luns',
    listQueues: 'get /v1/queues',
    refreshLun: 'post /v1/luns/{id}/refresh',
    stop: 'post /v1/stop',
  },
  'what clients rely on',
)
