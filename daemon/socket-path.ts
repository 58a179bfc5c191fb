import { SUN_PATH_MAX } from 'memfd-mmap'

/** What keeps a path from being a Unix socket's; undefined: nothing. A relative path counts as it is given. */
export function socketPathFault(path: string): string | undefined {
  const bytes = Buffer.byteLength(path)
  return bytes > SUN_PATH_MAX ? `${path}: the socket path has ${bytes} bytes, the limit is ${SUN_PATH_MAX}` : undefined
}
