import type { LunSettings } from './config-schema.js'
import type { Driver, LunConfig } from './daemon-config.js'
import { deriveIdentity } from './identity.js'
import { inspectImage } from './image.js'

const GIB = 2 ** 30

export const DEFAULTS = {
  SIZE: GIB,
  BLOCK_SIZE: 512,
  VENDOR: 'VUSCSID',
  PRODUCT: 'VIRTUAL DISK',
  REVISION: '0001',
  /** Non-rotating medium (SBC-4 6.6.2). */
  ROTATION_RATE: 1,
} as const

/** Keys that mean something to one driver only; elsewhere they would be ignored, so they are refused. */
const DRIVER_KEYS: readonly [
  key: 'path' | 'size' | 'locking' | 'space-threshold' | 'delay-us',
  drivers: readonly Driver[],
][] = [
  ['path', ['file']],
  ['size', ['memory', 'null']],
  ['locking', ['file']],
  ['space-threshold', ['file']],
  ['delay-us', ['null']],
]

/** Names the LUNs that have no id: disk0, disk1 ... */
export function nameLuns(luns: readonly LunSettings[]): (LunSettings & { id: string })[] {
  const taken = new Set(luns.map(({ id }) => id))
  let next = 0
  return luns.map((lun) => {
    if (lun.id !== undefined) return { ...lun, id: lun.id }
    while (taken.has(`disk${next}`)) next++
    return { ...lun, id: `disk${next++}` }
  })
}

/** Checks the LUNs and fills in their defaults; those with a fault are left out, and the fault is added to `faults`. */
export function resolveLuns(luns: readonly (LunSettings & { id: string })[], faults: string[]): LunConfig[] {
  const resolved: LunConfig[] = []
  const ids = new Set<string>()
  for (const lun of luns) {
    if (ids.has(lun.id)) {
      faults.push(`LUN id "${lun.id}" is used twice`)
      continue
    }
    ids.add(lun.id)
    const result = resolveLun(lun)
    if (typeof result === 'string') faults.push(`LUN "${lun.id}": ${result}`)
    else resolved.push(result)
  }
  checkSharedImages(resolved, faults)
  return resolved
}

function resolveLun(lun: LunSettings & { id: string }): LunConfig | string {
  const driver = lun.driver ?? (lun.path === undefined ? undefined : 'file')
  if (driver === undefined) return 'expected path=FILE, or driver=memory or driver=null'
  for (const [key, drivers] of DRIVER_KEYS) {
    if (lun[key] !== undefined && !drivers.includes(driver)) return `${key} has no meaning with driver=${driver}`
  }
  const blockSize = lun['block-size'] ?? DEFAULTS.BLOCK_SIZE
  const physicalBlockSize = lun['physical-block-size'] ?? blockSize
  if (physicalBlockSize < blockSize) {
    return `physical-block-size ${physicalBlockSize} is less than the block size ${blockSize}`
  }
  if (lun['space-threshold'] !== undefined && lun.discard === 'ignore') {
    return 'space-threshold has no meaning with discard=ignore'
  }
  const readOnly = lun['read-only'] ?? false
  const medium = driver === 'file' ? fileMedium(lun.path, readOnly, blockSize) : blankMedium(lun.size, blockSize)
  if (typeof medium === 'string') return medium
  const identity = deriveIdentity(driver, medium.path ?? lun.id)
  return {
    id: lun.id,
    driver,
    ...medium,
    readOnly,
    discard: lun.discard ?? 'unmap',
    blockSize,
    physicalBlockSize,
    serial: lun.serial ?? identity.serial,
    wwn: lun.wwn ?? identity.wwn,
    vendor: lun.vendor ?? DEFAULTS.VENDOR,
    product: lun.product ?? DEFAULTS.PRODUCT,
    revision: lun.revision ?? DEFAULTS.REVISION,
    rotationRate: lun['rotation-rate'] ?? DEFAULTS.ROTATION_RATE,
    removable: lun.removable ?? false,
    writeCache: lun['write-cache'] ?? true,
    delayUs: lun['delay-us'] ?? 0,
    locking: lun.locking ?? 'auto',
    shareRw: lun['share-rw'] ?? false,
    ...(lun['space-threshold'] !== undefined && { spaceThreshold: lun['space-threshold'] }),
  }
}

type Medium = { path?: string; size: number } | string

function fileMedium(path: string | undefined, readOnly: boolean, blockSize: number): Medium {
  return path === undefined ? 'driver=file needs path=FILE' : inspectImage(path, readOnly, blockSize)
}

function blankMedium(size: number = DEFAULTS.SIZE, blockSize: number): Medium {
  return size % blockSize === 0 ? { size } : `size ${size} is not a multiple of the block size ${blockSize}`
}

/** Two LUNs on one image, one of which writes, would not know of each other's writes, reservations and caches. */
function checkSharedImages(luns: readonly LunConfig[], faults: string[]): void {
  const users = new Map<string, LunConfig>()
  for (const lun of luns) {
    if (lun.path === undefined) continue
    const other = users.get(lun.path)
    users.set(lun.path, lun)
    if (other === undefined || (other.readOnly && lun.readOnly)) continue
    faults.push(`LUN "${lun.id}": ${lun.path}: is the image of LUN "${other.id}" already`)
  }
}
