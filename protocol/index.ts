/** The vhost-user wire protocol and virtio rings: the back end, and the front end that tests and benchmarks drive. */
export * from './virtio/scsi-layout.js'
