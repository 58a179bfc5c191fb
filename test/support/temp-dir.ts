import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Teardown } from './teardown.js'

/**
 * A directory of the test's own, removed at its end. Its path is short enough for a Unix socket in it (sun_path: 107
 * bytes).
 */
export const tempDir = (t: Teardown): string => {
  const path = mkdtempSync(join(tmpdir(), 'vus-'))
  t.teardown(() => rmSync(path, { recursive: true, force: true }))
  return path
}
