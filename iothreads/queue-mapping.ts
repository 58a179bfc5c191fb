/**
 * Which IOThread serves which request queue: QEMU's iothread-vq-mapping (QAPI IOThreadVirtQueueMapping, as merged in
 * QEMU 10.0), with its rules, their order and their texts. Numbers are request queues, 0-based: the control and the
 * event queue always run on the main loop and have no number here.
 */

const PROPERTY = 'iothread-vq-mapping'
const UINT16_MAX = 65535

export interface IothreadVqMapping {
  readonly iothread: string
  /** Absent in every entry: round robin. Never empty. */
  readonly vqs?: readonly number[]
}

/** A mapping that breaks a rule; the message is QEMU's. */
export class MappingError extends Error {
  readonly code = 'VUS_IOTHREAD_VQ_MAPPING'

  constructor(message: string) {
    super(message)
    this.name = 'MappingError'
  }
}

/**
 * Reads a mapping from parsed JSON. An empty list means that the property is not set, an empty `vqs` that it is absent.
 * Throws MappingError where the structure is not the schema's.
 */
export function parseMapping(value: unknown): IothreadVqMapping[] | undefined {
  if (!Array.isArray(value)) throw wrongType(PROPERTY, 'array')
  if (value.length === 0) return undefined
  return value.map((entry: unknown, i) => parseEntry(entry, `${PROPERTY}[${i}]`))
}

/** Reads a mapping from JSON text, as `--iothread-vq-mapping` takes it. */
export function parseMappingText(text: string): IothreadVqMapping[] | undefined {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (error) {
    throw new MappingError(`${PROPERTY} is not JSON: ${(error as Error).message}`)
  }
  return parseMapping(value)
}

/** The number of queues that an explicit mapping asks for; undefined for round robin, which fits any number. */
export function mappedQueueCount(mapping: readonly IothreadVqMapping[]): number | undefined {
  let count: number | undefined
  for (const { vqs } of mapping) {
    for (const vq of vqs ?? []) count = Math.max(count ?? 0, vq + 1)
  }
  return count
}

/**
 * Assigns every request queue to one IOThread: queue -> index into `iothreadIds`. Without a mapping the queues go
 * round robin over all IOThreads; with one that names no queues, round robin over its entries (entry k of n gets
 * k, k + n, k + 2n ...). IOThreads may be left without a queue. Throws MappingError.
 */
export function assignQueues(
  mapping: readonly IothreadVqMapping[] | undefined,
  iothreadIds: readonly string[],
  numQueues: number,
): number[] {
  if (mapping === undefined || mapping.length === 0) {
    if (iothreadIds.length === 0) throw new MappingError('no IOThread object exists')
    return roundRobin(
      iothreadIds.map((_, i) => i),
      numQueues,
    )
  }
  const explicit = checkMapping(mapping, iothreadIds, numQueues)
  const indices = mapping.map(({ iothread }) => iothreadIds.indexOf(iothread))
  if (!explicit) return roundRobin(indices, numQueues)
  const assignment = new Array<number>(numQueues).fill(-1)
  mapping.forEach(({ vqs = [] }, k) => {
    for (const vq of vqs) assignment[vq] = indices[k]!
  })
  return assignment
}

/** Checks the rules in QEMU's order (iothread_vq_mapping_validate); says whether the mapping is explicit. */
function checkMapping(
  mapping: readonly IothreadVqMapping[],
  iothreadIds: readonly string[],
  numQueues: number,
): boolean {
  const explicit = mapping[0]?.vqs !== undefined
  const names = new Set<string>()
  const taken = new Set<number>()
  for (const { iothread, vqs } of mapping) {
    if (!iothreadIds.includes(iothread)) throw new MappingError(`IOThread "${iothread}" object does not exist`)
    if (names.has(iothread)) throw new MappingError(`duplicate IOThread name "${iothread}" in ${PROPERTY}`)
    names.add(iothread)
    if ((vqs !== undefined) !== explicit) {
      throw new MappingError(`either all items in ${PROPERTY} must have vqs or none of them must have it`)
    }
    for (const vq of vqs ?? []) {
      if (vq >= numQueues) {
        throw new MappingError(
          `vq index ${vq} for IOThread "${iothread}" must be less than num_queues ${numQueues} in ${PROPERTY}`,
        )
      }
      if (taken.has(vq)) {
        throw new MappingError(`cannot assign vq ${vq} to IOThread "${iothread}" because it is already assigned`)
      }
      taken.add(vq)
    }
  }
  if (explicit) {
    for (let vq = 0; vq < numQueues; vq++) {
      if (!taken.has(vq)) throw new MappingError(`missing vq ${vq} IOThread assignment in ${PROPERTY}`)
    }
  }
  return explicit
}

function roundRobin(indices: readonly number[], numQueues: number): number[] {
  return Array.from({ length: numQueues }, (_, queue) => indices[queue % indices.length]!)
}

function parseEntry(value: unknown, where: string): IothreadVqMapping {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw wrongType(where, 'object')
  const { iothread, vqs, ...others } = value as Record<string, unknown>
  if (iothread === undefined) throw new MappingError(`Parameter '${where}.iothread' is missing`)
  if (typeof iothread !== 'string') throw wrongType(`${where}.iothread`, 'string')
  for (const key of Object.keys(others)) {
    if (isFixedQueue(key)) throw fixedQueue(`${where}.${key}`)
    throw new MappingError(`Parameter '${where}.${key}' is unexpected`)
  }
  if (vqs === undefined) return { iothread }
  if (!Array.isArray(vqs)) throw wrongType(`${where}.vqs`, 'array')
  const numbers = vqs.map((vq: unknown, i) => parseQueue(vq, `${where}.vqs[${i}]`))
  return numbers.length === 0 ? { iothread } : { iothread, vqs: numbers }
}

function parseQueue(value: unknown, where: string): number {
  if (isFixedQueue(value)) throw fixedQueue(where)
  if (typeof value !== 'number') throw wrongType(where, 'integer')
  if (!Number.isInteger(value) || value < 0 || value > UINT16_MAX) {
    throw new MappingError(`Parameter '${where}' expects uint16_t`)
  }
  return value
}

function isFixedQueue(name: unknown): boolean {
  return name === 'ctrl' || name === 'event'
}

function fixedQueue(where: string): MappingError {
  return new MappingError(
    `Parameter '${where}' is not possible: the control and the event queue always run on the main loop; ` +
      'only request queues, numbered from 0, can be assigned',
  )
}

function wrongType(where: string, expected: string): MappingError {
  return new MappingError(`Invalid parameter type for '${where}', expected: ${expected}`)
}
