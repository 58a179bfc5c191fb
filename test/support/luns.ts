import type { LunConfig } from '../../daemon/daemon-config.js'

/** A LUN's configuration with every default filled in: 1 MiB of memory, unless `overrides` say otherwise. */
export const lunConfig = (overrides: Partial<LunConfig> = {}): LunConfig => ({
  id: 'disk0',
  driver: 'memory',
  size: 2 ** 20,
  readOnly: false,
  discard: 'unmap',
  blockSize: 512,
  physicalBlockSize: 4096,
  serial: 'serial',
  wwn: '3000000000000001',
  vendor: 'VUS',
  product: 'DISK',
  revision: '1',
  rotationRate: 1,
  removable: false,
  writeCache: true,
  delayUs: 0,
  locking: 'auto',
  shareRw: false,
  ...overrides,
})
