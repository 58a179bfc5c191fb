import { SPLIT_REGION, SPLIT_STATE } from 'vhost-user-protocol-ts'

/** The split region as vhost-user.rst has it, step by step, with a batch begun when it is published. */
export class NaiveSplitInflight {
  readonly #view: DataView
  #counter = 0n
  #batch: number[] = []

  constructor(buffer: ArrayBufferLike, entries: number, usedIdx: number) {
    this.#view = new DataView(buffer)
    this.#view.setUint16(SPLIT_REGION.DESC_NUM, entries, true)
    this.#view.setUint16(SPLIT_REGION.USED_IDX, usedIdx, true)
    this.#view.setUint16(SPLIT_REGION.VERSION, 1, true)
  }

  #state(head: number): number {
    return SPLIT_REGION.DESC + SPLIT_STATE.SIZE * head
  }

  fetch(i: number): void {
    this.#view.setBigUint64(this.#state(i) + SPLIT_STATE.COUNTER, this.#counter, true)
    this.#counter++
    this.#view.setUint8(this.#state(i) + SPLIT_STATE.INFLIGHT, 1)
  }

  complete(i: number): void {
    this.#batch.push(i)
  }

  publish(): void {
    const view = this.#view
    for (const i of this.#batch) {
      view.setUint16(this.#state(i) + SPLIT_STATE.NEXT, view.getUint16(SPLIT_REGION.LAST_BATCH_HEAD, true), true)
      view.setUint16(SPLIT_REGION.LAST_BATCH_HEAD, i, true)
    }
    const used = view.getUint16(SPLIT_REGION.USED_IDX, true) + this.#batch.length
    for (const i of this.#batch) view.setUint8(this.#state(i) + SPLIT_STATE.INFLIGHT, 0)
    view.setUint16(SPLIT_REGION.USED_IDX, used & 0xffff, true)
    this.#batch = []
  }
}
