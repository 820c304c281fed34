// SPDX-License-Identifier: MIT
/**
 * Sub-buffers: parsing and checking of the 96-byte header and the checksum. The rules are numbered in
 * `docs/format.md`; 1 to 3 are checked here, 4 and 5 by `walk.ts`, which looks at the records.
 */
import { crc32c } from '@node-rs/crc32';
import { ABI_HASH, AT, SIZE } from '../abi/layout.js';
import { MAGIC, SUBBUF_MAX, VERSION } from '../abi/records.js';

export const SUBBUF_HEADER_BYTES: number = SIZE.lemona_subbuf;

export interface SubbufHeader {
  readonly cpu: number;
  /** Total bytes, header included. */
  readonly length: number;
  readonly bootId: bigint;
  readonly number: bigint;
  readonly monoNs: bigint;
  readonly realNs: bigint;
  /** 0n: holds no effect. */
  readonly seqFirst: bigint;
  readonly seqLast: bigint;
  readonly records: number;
  readonly effects: number;
  readonly issued: bigint;
  readonly dropped: bigint;
  readonly crc32c: number;
  readonly flags: number;
}

/**
 * Why bytes are not a sub-buffer: `torn` too few bytes, all that are there may be good · `foreign` not ours at
 * all, or another version · `abi` another record format · `corrupt` ours, and damaged.
 */
export interface SubbufProblem {
  readonly kind: 'torn' | 'foreign' | 'abi' | 'corrupt';
  readonly detail: string;
}

export type SubbufCheck =
  | { readonly ok: true; readonly header: SubbufHeader }
  | { readonly ok: false; readonly problem: SubbufProblem };

function bad(kind: SubbufProblem['kind'], detail: string): SubbufCheck {
  return { ok: false, problem: { kind, detail } };
}

function hex(value: number): string {
  return `0x${value.toString(16).padStart(8, '0')}`;
}

/** Checks rules 1 and 2 on the first bytes of a sub-buffer; whether the whole of it is there is not looked at. */
export function checkHeader(buf: Buffer, off = 0): SubbufCheck {
  const H = AT.lemona_subbuf;
  const there = buf.length - off;
  if (there >= 4 && buf.readUInt32LE(off + H.magic) !== MAGIC)
    return bad('foreign', `magic is ${hex(buf.readUInt32LE(off + H.magic))}, wanted ${hex(MAGIC)}`);
  if (there < SUBBUF_HEADER_BYTES) return bad('torn', `${there} bytes of a ${SUBBUF_HEADER_BYTES}-byte header`);
  const version = buf.readUInt16LE(off + H.version);
  if (version !== VERSION) return bad('foreign', `version is ${version}, wanted ${VERSION}`);
  const abiHash = buf.readUInt32LE(off + H.abi_hash);
  if (abiHash !== ABI_HASH) return bad('abi', `ABI hash is ${hex(abiHash)}, wanted ${hex(ABI_HASH)}`);
  const length = buf.readUInt32LE(off + H.length);
  if (length % 8 !== 0 || length < SUBBUF_HEADER_BYTES || length > SUBBUF_MAX)
    return bad('corrupt', `length is ${length}, wanted a multiple of 8 from ${SUBBUF_HEADER_BYTES} to ${SUBBUF_MAX}`);
  return {
    ok: true,
    header: {
      cpu: buf.readUInt16LE(off + H.cpu),
      length,
      bootId: buf.readBigUInt64LE(off + H.boot_id),
      number: buf.readBigUInt64LE(off + H.number),
      monoNs: buf.readBigUInt64LE(off + H.mono_ns),
      realNs: buf.readBigUInt64LE(off + H.real_ns),
      seqFirst: buf.readBigUInt64LE(off + H.seq_first),
      seqLast: buf.readBigUInt64LE(off + H.seq_last),
      records: buf.readUInt32LE(off + H.records),
      effects: buf.readUInt32LE(off + H.effects),
      issued: buf.readBigUInt64LE(off + H.issued),
      dropped: buf.readBigUInt64LE(off + H.dropped),
      crc32c: buf.readUInt32LE(off + H.crc32c),
      flags: buf.readUInt32LE(off + H.flags),
    },
  };
}

const ZERO_CRC = new Uint8Array(4);

/** The checksum a sub-buffer of `length` bytes at `off` should carry. */
export function subbufCrc(buf: Buffer, off: number, length: number): number {
  const field = off + AT.lemona_subbuf.crc32c;
  const before = crc32c(ZERO_CRC, crc32c(buf.subarray(off, field)));
  return crc32c(buf.subarray(field + 4, off + length), before);
}

/** Checks rules 1 to 3 on a whole sub-buffer that begins at `off`; bytes after it are not looked at. */
export function parseSubbuf(buf: Buffer, off = 0): SubbufCheck {
  const check = checkHeader(buf, off);
  if (!check.ok) return check;
  const { header } = check;
  if (buf.length - off < header.length)
    return bad('torn', `${buf.length - off} bytes of a sub-buffer of ${header.length}`);
  const crc = subbufCrc(buf, off, header.length);
  if (crc !== header.crc32c) return bad('corrupt', `checksum is ${hex(header.crc32c)}, the bytes give ${hex(crc)}`);
  return check;
}
