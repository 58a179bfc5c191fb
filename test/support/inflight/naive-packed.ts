import { PACKED_DESC, PACKED_REGION, PACKED_STATE } from 'vhost-user-protocol-ts'

/** The packed region as vhost-user.rst has it, step by step, with a batch begun when it is published. */
export class NaivePackedInflight {
  readonly #view: DataView
  readonly #ring: DataView
  readonly #size: number
  #counter = 0n
  #batch: number[] = []

  constructor(buffer: ArrayBufferLike, entries: number, ring: ArrayBufferLike, size: number) {
    this.#view = new DataView(buffer)
    this.#ring = new DataView(ring)
    this.#size = size
    this.#set('DESC_NUM', entries)
    for (let i = 0; i < entries; i++) this.#view.setUint16(this.#state(i) + PACKED_STATE.NEXT, i + 1, true)
    this.#view.setUint8(PACKED_REGION.USED_WRAP_COUNTER, 1)
    this.#view.setUint8(PACKED_REGION.OLD_USED_WRAP_COUNTER, 1)
    this.#set('VERSION', 1)
  }

  #state(entry: number): number {
    return PACKED_REGION.DESC + PACKED_STATE.SIZE * entry
  }

  #get(field: keyof typeof PACKED_REGION): number {
    return this.#view.getUint16(PACKED_REGION[field], true)
  }

  #set(field: keyof typeof PACKED_REGION, value: number): void {
    this.#view.setUint16(PACKED_REGION[field], value, true)
  }

  /** Answers the chain's entry. */
  fetch(index: number, count: number): number {
    const view = this.#view
    const ring = this.#ring
    const head = this.#get('OLD_FREE_HEAD')
    for (let i = 0; i < count; i++) {
      if (i === 0) {
        view.setUint16(this.#state(head) + PACKED_STATE.NUM, 0, true)
        view.setBigUint64(this.#state(head) + PACKED_STATE.COUNTER, this.#counter++, true)
        view.setUint8(this.#state(head) + PACKED_STATE.INFLIGHT, 1)
      }
      const free = this.#get('FREE_HEAD')
      if (i === count - 1) view.setUint16(this.#state(head) + PACKED_STATE.LAST, free, true)
      const num = view.getUint16(this.#state(head) + PACKED_STATE.NUM, true)
      view.setUint16(this.#state(head) + PACKED_STATE.NUM, num + 1, true)
      const d = PACKED_DESC.SIZE * ((index + i) % this.#size)
      const e = this.#state(free)
      view.setBigUint64(e + PACKED_STATE.ADDRESS, ring.getBigUint64(d + PACKED_DESC.ADDRESS, true), true)
      view.setUint32(e + PACKED_STATE.LENGTH, ring.getUint32(d + PACKED_DESC.LENGTH, true), true)
      view.setUint16(e + PACKED_STATE.FLAGS, ring.getUint16(d + PACKED_DESC.FLAGS, true), true)
      view.setUint16(e + PACKED_STATE.ID, ring.getUint16(d + PACKED_DESC.ID, true), true)
      this.#set('FREE_HEAD', view.getUint16(e + PACKED_STATE.NEXT, true))
    }
    this.#set('OLD_FREE_HEAD', this.#get('FREE_HEAD'))
    return head
  }

  complete(entry: number): void {
    this.#batch.push(entry)
  }

  publish(): void {
    const view = this.#view
    let used = this.#get('USED_IDX')
    for (const e of this.#batch) {
      const last = view.getUint16(this.#state(e) + PACKED_STATE.LAST, true)
      view.setUint16(this.#state(last) + PACKED_STATE.NEXT, this.#get('FREE_HEAD'), true)
      this.#set('FREE_HEAD', e)
      used += view.getUint16(this.#state(e) + PACKED_STATE.NUM, true)
    }
    if (used >= this.#size) {
      used -= this.#size
      view.setUint8(PACKED_REGION.USED_WRAP_COUNTER, view.getUint8(PACKED_REGION.USED_WRAP_COUNTER) ^ 1)
    }
    this.#set('USED_IDX', used)
    for (const e of this.#batch) view.setUint8(this.#state(e) + PACKED_STATE.INFLIGHT, 0)
    this.#set('OLD_FREE_HEAD', this.#get('FREE_HEAD'))
    this.#set('OLD_USED_IDX', used)
    view.setUint8(PACKED_REGION.OLD_USED_WRAP_COUNTER, view.getUint8(PACKED_REGION.USED_WRAP_COUNTER))
    this.#batch = []
  }
}
