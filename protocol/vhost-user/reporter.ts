export type ReportLevel = 'debug' | 'info' | 'warn' | 'error'

/**
 * Receives what a session has to tell. `code` is stable (a key of WIRE_FAULTS, REFUSALS or SESSION_EVENTS, or the code of a
 * DeviceError) so that it can be counted; `message` is for people; `fields` are values for structured logs.
 */
export interface SessionReporter {
  event(level: ReportLevel, code: string, message: string, fields?: Record<string, unknown>): void
}

/** Events of a session that are no faults. */
export const SESSION_EVENTS = {
  VUS_MESSAGE: 'debug: a message arrived',
  VUS_FEATURES: 'debug: features were accepted',
  VUS_PROTOCOL_FEATURES: 'debug: protocol features were accepted',
  VUS_MEMORY: 'debug: the memory table changed',
  VUS_RING_STARTED: 'debug: a ring became active',
  VUS_RING_STOPPED: 'debug: a ring is no longer active',
  VUS_LOG: 'debug: there is a new dirty log',
  VUS_INFLIGHT: 'debug: there is a new inflight buffer',
  VUS_CHANNEL: 'debug: there is a new back-end channel',
  VUS_CHANNEL_CLOSED: 'debug: the front end closed the back-end channel',
  VUS_CHANNEL_MESSAGE: 'warn: something came on the back-end channel, which nobody asked for; the channel is closed',
  VUS_RESET: 'debug: the device was reset',
  VUS_PEER_CLOSED: 'info: the front end closed the connection',
  VUS_LOCAL_CLOSE: 'info: the connection was closed on this side',
  VUS_INTERNAL: 'error: a handler failed in a way that nobody foresaw; the connection ends',
  VUS_DEVICE_STUCK: 'error: the device did not let go of a ring or of its memory; its descriptors stay open',
} as const

/** Swallows every report. */
export const SILENT: SessionReporter = { event: () => {} }
