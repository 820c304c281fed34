// SPDX-License-Identifier: MIT
/**
 * The two small structures of a segment file (little-endian; drawn in `docs/format.md`):
 *
 *   header, 64 B:  0 "LMNASEG1"  8 u32 version=2  12 u32 number  16 u64 created_real_ns  24 zeros
 *   footer, 64 B:  0 "LMNASEAL"  8 u64 body_bytes  16 u64 subbufs  24 u8 digest[32] of all before  56 u64 zero
 *
 * The digest is that of `sha256x16.ts`; version 1 had SHA-256. A segment without footer is not sealed: it was being written when the writer stopped.
 */
export const SEGMENT_HEADER_BYTES = 64;
export const SEGMENT_FOOTER_BYTES = 64;
/** A new segment is begun when the next sub-buffer would take one past this. */
export const SEGMENT_LIMIT_BYTES = 64 * 1024 * 1024;

const HEADER_MAGIC = Buffer.from('LMNASEG1');
const FOOTER_MAGIC = Buffer.from('LMNASEAL');
const SEGMENT_VERSION = 2;

export interface SegmentHeader {
  readonly number: number;
  readonly createdRealNs: bigint;
}

export interface SegmentFooter {
  readonly bodyBytes: bigint;
  readonly subbufs: bigint;
  readonly digest: Buffer;
}

/** `000000.seg` for 0. */
export function segmentName(number: number): string {
  return `${String(number).padStart(6, '0')}.seg`;
}

/** The number in a segment's file name, or undefined for another file. */
export function segmentNumber(name: string): number | undefined {
  const number = Number.parseInt(name, 10);
  // The header keeps it in 32 bits; another spelling of a number is another file, not that segment twice.
  return number <= 0xffffffff && segmentName(number) === name ? number : undefined;
}

export function encodeSegmentHeader(header: SegmentHeader): Buffer {
  const buf = Buffer.alloc(SEGMENT_HEADER_BYTES);
  HEADER_MAGIC.copy(buf);
  buf.writeUInt32LE(SEGMENT_VERSION, 8);
  buf.writeUInt32LE(header.number, 12);
  buf.writeBigUInt64LE(header.createdRealNs, 16);
  return buf;
}

/** @returns the header, or why these bytes are none */
export function parseSegmentHeader(buf: Buffer): SegmentHeader | string {
  if (buf.length < SEGMENT_HEADER_BYTES) return `${buf.length} bytes, a segment's header has ${SEGMENT_HEADER_BYTES}`;
  if (!buf.subarray(0, 8).equals(HEADER_MAGIC))
    return `begins with ${buf.subarray(0, 8).toString('hex')}, wanted "LMNASEG1"`;
  const version = buf.readUInt32LE(8);
  if (version !== SEGMENT_VERSION)
    return `segment version ${version}, wanted ${SEGMENT_VERSION}: only the lab's version that wrote it reads it`;
  if (buf.subarray(24, SEGMENT_HEADER_BYTES).some((b) => b !== 0)) return 'its header holds bytes that must be zero';
  return { number: buf.readUInt32LE(12), createdRealNs: buf.readBigUInt64LE(16) };
}

/** Whether a segment begins so that was written in an earlier format. */
export function isOlderSegment(buf: Buffer): boolean {
  if (buf.length < SEGMENT_HEADER_BYTES || !buf.subarray(0, 8).equals(HEADER_MAGIC)) return false;
  const version = buf.readUInt32LE(8);
  return version > 0 && version < SEGMENT_VERSION;
}

export function encodeSegmentFooter(footer: SegmentFooter): Buffer {
  const buf = Buffer.alloc(SEGMENT_FOOTER_BYTES);
  FOOTER_MAGIC.copy(buf);
  buf.writeBigUInt64LE(footer.bodyBytes, 8);
  buf.writeBigUInt64LE(footer.subbufs, 16);
  footer.digest.copy(buf, 24, 0, 32);
  return buf;
}

/** @returns the footer, or undefined if these are not the bytes of one */
export function parseSegmentFooter(buf: Buffer): SegmentFooter | undefined {
  if (buf.length !== SEGMENT_FOOTER_BYTES || !buf.subarray(0, 8).equals(FOOTER_MAGIC)) return undefined;
  if (buf.readBigUInt64LE(56) !== 0n) return undefined;
  return {
    bodyBytes: buf.readBigUInt64LE(8),
    subbufs: buf.readBigUInt64LE(16),
    digest: Buffer.from(buf.subarray(24, 56)),
  };
}
