import t from 'tap'
import {
  BACK_END_REQUEST,
  definedRequests,
  FRONT_END_REQUEST,
  MAX_REQUEST_FDS,
  MAX_REQUEST_PAYLOAD,
  requestInfo,
  requestName,
} from 'vhost-user-protocol-ts'

t.test('every code from 1 to 45 is defined once', async (t) => {
  const codes = Object.values(FRONT_END_REQUEST)
  t.same(
    codes,
    Array.from({ length: 45 }, (_, i) => i + 1),
  )
  t.same(
    definedRequests().map((info) => info.code),
    codes,
  )
  t.same(Object.values(BACK_END_REQUEST), [1, 2, 3, 4, 5, 6, 7, 8, 9, 10])
})

t.test('names', async (t) => {
  for (const [name, code] of Object.entries(FRONT_END_REQUEST)) {
    t.equal(requestName(code), name)
    t.equal(requestInfo(code)?.name, name)
  }
  for (const code of [0, 46, 0xffffffff]) {
    t.equal(requestInfo(code), undefined)
    t.equal(requestName(code), `request ${code}`)
  }
})

t.test('sizes that QEMU was seen to send are allowed', async (t) => {
  const seen: Record<string, [payload: number, fds: number]> = {
    GET_FEATURES: [0, 0],
    SET_FEATURES: [8, 0],
    SET_OWNER: [0, 0],
    SET_VRING_NUM: [8, 0],
    SET_VRING_ADDR: [40, 0],
    SET_VRING_BASE: [8, 0],
    GET_VRING_BASE: [8, 0],
    SET_VRING_KICK: [8, 1],
    SET_VRING_CALL: [8, 0],
    SET_VRING_ERR: [8, 1],
    GET_PROTOCOL_FEATURES: [0, 0],
    SET_PROTOCOL_FEATURES: [8, 0],
    GET_QUEUE_NUM: [0, 0],
    SET_VRING_ENABLE: [8, 0],
    SET_BACKEND_REQ_FD: [0, 1],
    GET_INFLIGHT_FD: [24, 0],
    SET_INFLIGHT_FD: [24, 1],
    RESET_DEVICE: [0, 0],
    GET_MAX_MEM_SLOTS: [0, 0],
    ADD_MEM_REG: [40, 1],
    REM_MEM_REG: [40, 0],
    SET_MEM_TABLE: [72, 2],
    SET_LOG_BASE: [16, 1],
    SET_STATUS: [8, 0],
    GET_STATUS: [0, 0],
  }
  for (const [name, [payload, fds]] of Object.entries(seen)) {
    const info = requestInfo(FRONT_END_REQUEST[name as keyof typeof FRONT_END_REQUEST])!
    t.ok(info.minPayload <= payload && payload <= info.maxPayload, `${name} payload`)
    t.ok(info.minFds <= fds && fds <= info.maxFds, `${name} descriptors`)
  }
})

t.test('the limits hold for every request, and some request reaches them', async (t) => {
  t.equal(MAX_REQUEST_PAYLOAD, 268)
  t.equal(Math.max(...definedRequests().map((info) => info.maxPayload)), MAX_REQUEST_PAYLOAD)
  t.equal(Math.max(...definedRequests().map((info) => info.maxFds)), MAX_REQUEST_FDS)
  for (const info of definedRequests()) {
    t.ok(info.minPayload <= info.maxPayload && info.minFds <= info.maxFds, info.name)
  }
})

t.test('which requests are always answered', async (t) => {
  t.same(
    definedRequests()
      .filter((info) => info.reply === 'explicit')
      .map((info) => info.name),
    [
      'GET_FEATURES',
      'GET_VRING_BASE',
      'GET_PROTOCOL_FEATURES',
      'GET_QUEUE_NUM',
      'IOTLB_MSG',
      'GET_CONFIG',
      'CREATE_CRYPTO_SESSION',
      'POSTCOPY_ADVISE',
      'POSTCOPY_END',
      'GET_INFLIGHT_FD',
      'GET_MAX_MEM_SLOTS',
      'GET_STATUS',
      'GET_SHARED_OBJECT',
      'SET_DEVICE_STATE_FD',
      'CHECK_DEVICE_STATE',
      'GET_SHMEM_CONFIG',
      'GET_VRING_BASE_SKIP_DRAIN',
    ],
  )
})
