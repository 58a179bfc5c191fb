import { readFileSync } from 'node:fs'

const MAX_GID = 2 ** 32 - 2

/** The id of a group of group(5), by name or number; undefined if there is none of that name. */
export function resolveGroup(group: string, file = '/etc/group'): number | undefined {
  if (/^\d{1,10}$/.test(group)) {
    const gid = Number(group)
    return gid <= MAX_GID ? gid : undefined
  }
  for (const line of readFileSync(file, 'utf8').split('\n')) {
    const [name, , gid] = line.split(':')
    if (name === group && gid !== undefined && /^\d+$/.test(gid)) return Number(gid)
  }
  return undefined
}
