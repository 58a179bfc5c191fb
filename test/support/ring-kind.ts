/** Which kind of ring tests use that do not say. `packed-rings.ts` makes it the packed kind for a whole test file. */
export const ringKind = { packed: false }
