import type { UnitNexus } from './unit-server.js'

/** Bytes of the buffers (READ BUFFER tells them). */
export const BUFFER_BYTES = { DATA: 4096, ECHO: 512 } as const

/** What WRITE BUFFER has written to a logical unit; it ends with the process. */
export class UnitBuffers {
  /** Buffer 0, of all nexuses. */
  readonly data = new Uint8Array(BUFFER_BYTES.DATA)
  /** Each nexus has an echo buffer of its own. */
  readonly #echoes = new WeakMap<UnitNexus, Uint8Array>()

  /** What the nexus wrote to its echo buffer last, if it did. */
  echo(nexus: UnitNexus): Uint8Array | undefined {
    return this.#echoes.get(nexus)
  }

  setEcho(nexus: UnitNexus, bytes: Uint8Array): void {
    this.#echoes.set(nexus, bytes)
  }
}
