import { RefusedError } from '../errors.js'
import { featureMask, featureNames, hasFeature, protocolFeatureNames, VHOST_F, VHOST_USER_F } from '../features.js'
import { FRONT_END_REQUEST } from '../requests.js'
import { FIXED_QUEUES, PROTOCOL_FEATURES_MASK, type RequestHandler } from '../session-state.js'
import { maskPayload, readMask, u64Payload } from '../u64.js'

const LOG_ALL_MASK = featureMask(VHOST_F.LOG_ALL)

// PROTOCOL_FEATURES is always offered: without it QEMU finds 0 memory slots and refuses.
const getFeatures: RequestHandler = ({ device }) => maskPayload(device.features | PROTOCOL_FEATURES_MASK)

const setFeatures: RequestHandler = async (state, message) => {
  const { device, report } = state
  const mask = readMask(message.view, 0)
  const foreign = mask & ~(device.features | PROTOCOL_FEATURES_MASK)
  if (foreign !== 0n) throw new RefusedError('VUS_FEATURES_NOT_OFFERED', featureNames(foreign).join(', '))
  const features = mask & ~PROTOCOL_FEATURES_MASK
  const changed = features ^ state.features
  if ((changed & ~LOG_ALL_MASK) !== 0n && state.anyActive) {
    throw new RefusedError('VUS_FEATURES_WHILE_RUNNING', featureNames(changed).join(', '))
  }
  await device.setFeatures(features)
  state.features = features
  report.event('debug', 'VUS_FEATURES', 'features are set', { features: featureNames(mask) })
  // Rings of a front end that can't enable them are enabled from the start.
  if (!hasFeature(mask, VHOST_USER_F.PROTOCOL_FEATURES)) for (const ring of state.rings) await ring.setEnabled(true)
  return undefined
}

const getProtocolFeatures: RequestHandler = ({ device }) => maskPayload(device.protocolFeatures)

const setProtocolFeatures: RequestHandler = (state, message) => {
  const mask = readMask(message.view, 0)
  const foreign = mask & ~state.device.protocolFeatures
  if (foreign !== 0n) throw new RefusedError('VUS_FEATURES_NOT_OFFERED', protocolFeatureNames(foreign).join(', '))
  state.protocolFeatures = mask
  const features = protocolFeatureNames(mask)
  state.report.event('debug', 'VUS_PROTOCOL_FEATURES', 'protocol features are set', { features })
  return undefined
}

// Also without MQ: SPDK's front end asks in any case, and waits.
const getQueueNum: RequestHandler = ({ device }) => u64Payload(device.ringCount - FIXED_QUEUES)

export const featureHandlers: Readonly<Record<number, RequestHandler>> = {
  [FRONT_END_REQUEST.GET_FEATURES]: getFeatures,
  [FRONT_END_REQUEST.SET_FEATURES]: setFeatures,
  [FRONT_END_REQUEST.GET_PROTOCOL_FEATURES]: getProtocolFeatures,
  [FRONT_END_REQUEST.SET_PROTOCOL_FEATURES]: setProtocolFeatures,
  [FRONT_END_REQUEST.GET_QUEUE_NUM]: getQueueNum,
}
