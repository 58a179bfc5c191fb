/** A change of a LUN, or of a controller's LUNs, that cannot be. `code`: the errno that says why. */
export class LunError extends Error {
  readonly code: string

  constructor(code: string, message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = 'LunError'
    this.code = code
  }
}
