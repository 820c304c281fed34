// SPDX-License-Identifier: MIT
/** 64-bit numbers as doubles where those hold them exactly: a bigint costs ten times as much. Pure functions. */

const TWO_32 = 0x1_0000_0000;

/** A number, where a double holds it exactly. */
export function narrow(value: bigint): number | bigint {
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : value;
}

/** The number with these 64 bits and a sign, which is what a database column holds. */
export function readSigned(buf: Buffer, off: number): number | bigint {
  const high = buf.readInt32LE(off + 4);
  if (high < 0x20_0000 && high >= -0x20_0000) return high * TWO_32 + buf.readUInt32LE(off);
  return buf.readBigInt64LE(off);
}

/** An unsigned number, rounded above 2^53: good enough to compare. */
export function nearU64(buf: Buffer, off: number): number {
  return buf.readUInt32LE(off + 4) * TWO_32 + buf.readUInt32LE(off);
}

/** An unsigned bigint as the signed number with the same bits. */
export function signed(value: bigint): number | bigint {
  return narrow(BigInt.asIntN(64, value));
}
