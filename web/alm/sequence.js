// Numbers of messages: 64 bits that wrap around (RFC 1982), as BigInt.

const BITS = 64;

/** The number `n` later. */
export const plus = (sequence, n) => BigInt.asUintN(BITS, sequence + BigInt(n));

/** How far it is from `earlier` to `sequence`, as a number; negative if `earlier` is in truth later. */
export const distance = (sequence, earlier) => Number(BigInt.asIntN(BITS, sequence - earlier));

/** Whether `a` comes before `b`. */
export const before = (a, b) => BigInt.asIntN(BITS, a - b) < 0n;

/** How far a 32-bit count has gone since `earlier`; negative if it has gone back. */
export const countDistance = (count, earlier) => (count - earlier) | 0;
