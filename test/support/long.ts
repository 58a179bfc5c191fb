/** How often to repeat what can be repeated: VUS_LONG=20 multiplies it by 20. */
export const times = (count: number): number => count * Math.max(1, Number(process.env.VUS_LONG ?? 1) || 1)
