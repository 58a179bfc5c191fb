/** What ends a command of ctl with exit status 1: the daemon refuses, or cannot be reached. The message is one line. */
export class CtlError extends Error {
  /** The daemon's code, an errno's name, or `VUS_...`. */
  readonly code: string

  constructor(code: string, message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = 'CtlError'
    this.code = code
  }
}
