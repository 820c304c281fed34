// SPDX-License-Identifier: MIT
/**
 * Parts of sub-buffers. A driver that spreads its record by category sends each server the records of one category, and
 * says in their place what the others have: all parts together are the whole, to the byte and with its checksum.
 */
import { AT, FLAG, KIND, SIZE } from '../abi/layout.js';
import { SUBBUF_MAX } from '../abi/records.js';
import { checkHeader, parseSubbuf, SUBBUF_HEADER_BYTES, type SubbufHeader } from './subbuf.js';
import { walkRecords } from './walk.js';

export type Category = 'network' | 'disk';

/** The categories, by the number that stands in the header of a part. */
export const CATEGORIES: ReadonlyMap<number, Category> = new Map([
  [FLAG.CATEGORY_NETWORK, 'network'],
  [FLAG.CATEGORY_DISK, 'disk'],
]);

/** Records that stand in the part at `from` and in the whole at `at`. */
interface Piece {
  readonly at: number;
  readonly from: number;
  readonly size: number;
}

interface Part {
  /** The header of the whole, as it was before it was split. */
  readonly header: Buffer;
  readonly pieces: readonly Piece[];
}

/** What PART has of the whole's header, and how many bytes each takes. */
const FACTS = [
  ...[['length', 4] as const, ['crc32c', 4] as const, ['records', 4] as const, ['effects', 4] as const],
  ...[['seq_first', 8] as const, ['seq_last', 8] as const],
];

/** The header of the whole, made of that of a part and of PART. */
function wholeHeader(part: Buffer): Buffer {
  const header = Buffer.from(part.subarray(0, SUBBUF_HEADER_BYTES));
  for (const [name, size] of FACTS) {
    const from = SUBBUF_HEADER_BYTES + AT.lemona_part[name];
    part.copy(header, AT.lemona_subbuf[name], from, from + size);
  }
  header.writeUInt32LE(0, AT.lemona_subbuf.flags);
  return header;
}

/** Takes a part to pieces, or says why it is none. */
function readPart(bytes: Buffer): Part | string {
  const check = checkHeader(bytes);
  if (!check.ok) return check.problem.detail;
  if (check.header.length !== bytes.length) return `it has ${bytes.length} bytes of ${check.header.length}`;
  const pieces: Piece[] = [];
  let at = SUBBUF_HEADER_BYTES;
  let why: string | undefined = 'it does not begin with PART';
  const ended = walkRecords(bytes, check.header, (_buf, off, size, kind) => {
    if (off === SUBBUF_HEADER_BYTES) {
      if (kind === KIND.PART && size === SIZE.lemona_part) why = undefined;
    } else if (kind !== KIND.ELSEWHERE) {
      pieces.push({ at, from: off, size });
      at += size;
    } else if (size === SIZE.lemona_elsewhere) at += bytes.readUInt32LE(off + AT.lemona_elsewhere.bytes);
    else why = `ELSEWHERE at ${off} has ${size} bytes`;
  });
  why ??= ended;
  if (why !== undefined) return why;
  const header = wholeHeader(bytes);
  const length = header.readUInt32LE(AT.lemona_subbuf.length);
  if (length > SUBBUF_MAX || at !== length) return `its records and gaps make ${at} bytes, the whole has ${length}`;
  return { header, pieces };
}

/**
 * Makes the whole of its parts; it has the checksum that the driver made before it was split.
 * @returns the whole sub-buffer, or why these are not all parts of one
 */
export function joinParts(parts: readonly Buffer[]): Buffer | string {
  let whole = Buffer.alloc(0);
  let isThere = new Uint8Array();
  for (const bytes of parts) {
    const part = readPart(bytes);
    if (typeof part === 'string') return part;
    const { header, pieces } = part;
    if (whole.length === 0) {
      whole = Buffer.alloc(header.readUInt32LE(AT.lemona_subbuf.length));
      isThere = new Uint8Array(whole.length).fill(1, 0, header.copy(whole));
    } else if (!header.equals(whole.subarray(0, header.length))) return 'they are parts of different sub-buffers';
    for (const { at, from, size } of pieces) {
      bytes.copy(whole, at, from, from + size);
      isThere.fill(1, at, at + size);
    }
  }
  if (whole.length === 0) return 'there are none';
  const hole = isThere.indexOf(0);
  if (hole >= 0) return `none of them has the record at ${hole}`;
  const check = parseSubbuf(whole);
  return check.ok ? whole : `together they are not the whole: ${check.problem.detail}`;
}

/** Whether `part` is what its place in `whole` says. */
export function isPartOf(part: Buffer, whole: Buffer): boolean {
  const read = readPart(part);
  if (typeof read === 'string' || !read.header.equals(whole.subarray(0, SUBBUF_HEADER_BYTES))) return false;
  return read.pieces.every(({ at, from, size }) =>
    part.subarray(from, from + size).equals(whole.subarray(at, at + size)),
  );
}

/** Which part a sub-buffer is, or undefined: it is whole. */
export function categoryOf(header: SubbufHeader): Category | undefined {
  return CATEGORIES.get(header.flags);
}
