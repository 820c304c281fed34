// SPDX-License-Identifier: MIT
/**
 * Parts of sub-buffers. A driver that spreads its record by category sends each server the records of one category, and
 * says in their place what the others have. `docs/format.md` has the rules; the driver's own are module/part.c.
 */
import { AT, FLAG, KIND, SIZE } from '../abi/layout.js';
import { REC_KIND_SHIFT, SUBBUF_MAX } from '../abi/records.js';
import { URING_OPS } from '../abi/uring.js';
import { checkHeader, parseSubbuf, SUBBUF_HEADER_BYTES, type SubbufHeader, subbufCrc } from './subbuf.js';
import { walkRecords } from './walk.js';

export type Category = 'network' | 'disk';

/** The categories, by the number that stands in the header of a part. */
export const CATEGORIES: ReadonlyMap<number, Category> = new Map([
  [FLAG.CATEGORY_NETWORK, 'network'],
  [FLAG.CATEGORY_DISK, 'disk'],
]);

/** Which part a sub-buffer is, or undefined: it is whole. */
export function categoryOf(header: SubbufHeader): Category | undefined {
  return CATEGORIES.get(header.flags);
}

/** The number of a category; 0 of none. */
export function categoryNumber(category: Category | undefined): number {
  for (const [number, name] of CATEGORIES) if (name === category) return number;
  return 0;
}

const DISK_KINDS: ReadonlySet<number> = new Set([KIND.EFFECT, KIND.LOST, KIND.FAULT]);
const CALL_KINDS: ReadonlySet<number> = new Set([KIND.ENTRY, KIND.EXIT]);

/** The one category of a record, or undefined: all have it. */
function onlyCategory(buf: Buffer, off: number, kind: number): Category | undefined {
  if (DISK_KINDS.has(kind)) return 'disk';
  if (kind === KIND.URING)
    return URING_OPS[buf.readUInt16LE(off + AT.lemona_rec.code)]?.isNetwork === true ? 'network' : 'disk';
  if (!CALL_KINDS.has(kind)) return undefined;
  return (buf.readUInt16LE(off + AT.lemona_rec.flags) & FLAG.F_SOCKET) === 0 ? 'disk' : 'network';
}

/** What PART has of the whole's header, and how many bytes each takes. */
const FACTS = [
  ...[['length', 4] as const, ['crc32c', 4] as const, ['records', 4] as const, ['effects', 4] as const],
  ...[['seq_first', 8] as const, ['seq_last', 8] as const],
];

function sign(kind: number, size: number): Buffer {
  const buf = Buffer.alloc(size);
  buf.writeUInt32LE((size + kind * 2 ** REC_KIND_SHIFT) >>> 0, AT.lemona_rec.size_kind);
  return buf;
}

/** What of a whole sub-buffer is of a category: byte for byte what the driver sends. */
export function partOf(whole: Buffer, category: Category): Buffer {
  const [H, P, E] = [AT.lemona_subbuf, AT.lemona_part, AT.lemona_elsewhere];
  const check = checkHeader(whole);
  if (!check.ok) throw new TypeError(check.problem.detail);
  const facts = sign(KIND.PART, SIZE.lemona_part);
  for (const [name, size] of FACTS) whole.copy(facts, P[name], H[name], H[name] + size);
  const records = [facts];
  let gap: Buffer | undefined;
  walkRecords(whole, check.header, (buf, off, size, kind) => {
    const only = onlyCategory(buf, off, kind);
    if (only === undefined || only === category) {
      records.push(buf.subarray(off, off + size));
      gap = undefined;
      return;
    }
    if (gap === undefined) {
      gap = sign(KIND.ELSEWHERE, SIZE.lemona_elsewhere);
      buf.copy(gap, AT.lemona_rec.dt, off + AT.lemona_rec.dt, off + AT.lemona_rec.dt + 4);
      records.push(gap);
    }
    gap.writeUInt32LE(gap.readUInt32LE(E.records) + 1, E.records);
    gap.writeUInt32LE(gap.readUInt32LE(E.bytes) + size, E.bytes);
  });
  const part = Buffer.concat([whole.subarray(0, SUBBUF_HEADER_BYTES), ...records]);
  part.writeUInt32LE(part.length, H.length);
  part.writeUInt32LE(records.length, H.records);
  part.writeUInt32LE(categoryNumber(category), H.flags);
  // All effects are in one category.
  if (category !== 'disk') part.fill(0, H.seq_first, H.records).writeUInt32LE(0, H.effects);
  part.writeUInt32LE(subbufCrc(part, 0, part.length), H.crc32c);
  return part;
}

/** Lays a part's records into the whole, where they stood; says why if it is none. */
function lay(part: Buffer, whole: Buffer, isThere: Uint8Array): string | undefined {
  const check = checkHeader(part);
  if (!check.ok) return check.problem.detail;
  if (check.header.length !== part.length) return `it has ${part.length} bytes of ${check.header.length}`;
  let at = SUBBUF_HEADER_BYTES;
  let isAfterPart = false;
  return walkRecords(part, check.header, (_buf, off, size, kind) => {
    if (!isAfterPart) isAfterPart = true;
    else if (kind === KIND.ELSEWHERE && size === SIZE.lemona_elsewhere)
      at += part.readUInt32LE(off + AT.lemona_elsewhere.bytes);
    else {
      part.copy(whole, at, off, off + size);
      isThere.fill(1, at, at + size);
      at += size;
    }
  });
}

/** The header of the whole, made of that of a part and of PART; undefined: it does not begin with PART. */
function wholeHeader(part: Buffer): Buffer | undefined {
  const first = part.length < SUBBUF_HEADER_BYTES + SIZE.lemona_part ? 0 : part.readUInt32LE(SUBBUF_HEADER_BYTES);
  if (first !== (SIZE.lemona_part + KIND.PART * 2 ** REC_KIND_SHIFT) >>> 0) return undefined;
  const header = Buffer.from(part.subarray(0, SUBBUF_HEADER_BYTES));
  for (const [name, size] of FACTS) {
    const from = SUBBUF_HEADER_BYTES + AT.lemona_part[name];
    part.copy(header, AT.lemona_subbuf[name], from, from + size);
  }
  header.writeUInt32LE(0, AT.lemona_subbuf.flags);
  return header;
}

/**
 * Makes the whole of its two parts. It has the checksum that the driver made before it was split, and both are what the
 * driver would have made of it: what stands in both is the same, and nothing is missing.
 * @returns the whole sub-buffer, or why these are not its parts
 */
export function joinParts(network: Buffer, disk: Buffer): Buffer | string {
  const [header, other] = [wholeHeader(network), wholeHeader(disk)];
  if (header === undefined || other === undefined) return 'one of them does not begin with PART';
  if (!header.equals(other)) return 'they are parts of different sub-buffers';
  const length = header.readUInt32LE(AT.lemona_subbuf.length);
  if (length > SUBBUF_MAX || length < SUBBUF_HEADER_BYTES) return `the whole would have ${length} bytes`;
  const whole = Buffer.alloc(length);
  const isThere = new Uint8Array(length).fill(1, 0, header.copy(whole));
  const why = lay(disk, whole, isThere) ?? lay(network, whole, isThere);
  if (why !== undefined) return why;
  const hole = isThere.indexOf(0);
  if (hole >= 0) return `neither has the record at ${hole}`;
  const check = parseSubbuf(whole);
  if (!check.ok) return `together they are not the whole: ${check.problem.detail}`;
  if (!partOf(whole, 'network').equals(network) || !partOf(whole, 'disk').equals(disk))
    return 'what both have is not the same in both, or one has what is not its own';
  return whole;
}

/** Whether a sub-buffer is what its category is to have of `whole`; of none, whether it is the same. */
export function fits(header: SubbufHeader, bytes: Buffer, whole: Buffer): boolean {
  const category = categoryOf(header);
  return bytes.equals(category === undefined ? whole : partOf(whole, category));
}
