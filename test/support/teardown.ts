/** What the helpers need of a tap test: a place to leave their tidying up. */
export interface Teardown {
  teardown(handler: () => unknown): unknown
}
