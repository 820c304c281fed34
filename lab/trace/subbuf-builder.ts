// SPDX-License-Identifier: MIT
/** Makes records and sub-buffers, by the schema that the driver's header is generated from. */
import { ABI_HASH, AT, LAYOUTS, SIZE, type StructName } from '../abi/layout.js';
import { MAGIC, REC_KIND_SHIFT, VERSION } from '../abi/records.js';
import { subbufCrc } from './subbuf.js';

export type Values = Readonly<Record<string, number | bigint | string | Buffer | readonly (number | bigint)[]>>;

/** Writes named fields of a struct at `off`; fields that are not named stay as they are. */
export function putStruct(buf: Buffer, off: number, name: StructName, values: Values): void {
  for (const { field, offset, size } of LAYOUTS.get(name)?.fields ?? []) {
    const value = values[field.name];
    if (value === undefined) continue;
    const at = off + offset;
    if (typeof value === 'string' || Buffer.isBuffer(value)) {
      Buffer.from(value).copy(buf, at, 0, size);
      continue;
    }
    const items = typeof value === 'number' || typeof value === 'bigint' ? [value] : value;
    const unit = size / (field.count ?? 1);
    for (const [i, item] of items.entries()) {
      if (unit === 8) buf.writeBigUInt64LE(BigInt.asUintN(64, BigInt(item)), at + 8 * i);
      else if (unit === 4) buf.writeUInt32LE(Number(item) >>> 0, at + 4 * i);
      else if (unit === 2) buf.writeUInt16LE(Number(item), at + 2 * i);
      else buf.writeUInt8(Number(item), at + i);
    }
  }
}

/** A record of any kind: header, then body, padded with zeros to 8; header fields that are not named are zero. */
export function packRecord(
  kind: number,
  body: Buffer,
  header: { readonly [field in 'code' | 'flags' | 'tid' | 'dt']?: number } = {},
): Buffer {
  const size = Math.ceil((SIZE.lemona_rec + body.length) / 8) * 8;
  const buf = Buffer.alloc(size);
  putStruct(buf, 0, 'lemona_rec', { ...header, size_kind: size + kind * 2 ** REC_KIND_SHIFT });
  body.copy(buf, SIZE.lemona_rec);
  return buf;
}

/** A sub-buffer around records, with their count and the checksum; what else is in the header, the caller says. */
export function packSubbuf(records: readonly Buffer[], header: Values): Buffer {
  const buf = Buffer.concat([Buffer.alloc(SIZE.lemona_subbuf), ...records]);
  const own = { magic: MAGIC, version: VERSION, abi_hash: ABI_HASH, length: buf.length, records: records.length };
  putStruct(buf, 0, 'lemona_subbuf', { ...own, ...header });
  return reseal(buf);
}

/** Puts the right checksum into a sub-buffer that was changed. */
export function reseal(buf: Buffer): Buffer {
  buf.writeUInt32LE(subbufCrc(buf, 0, buf.length), AT.lemona_subbuf.crc32c);
  return buf;
}
