import type { Request } from './request.js'

/** Reads chains as drivers really make them, and sets `request.head` to what stands for the chain. */
export interface Framing {
  /** Reads the chain at `head`. False: nothing is decided, read it in the general way. */
  read(head: number, request: Request): boolean
}
