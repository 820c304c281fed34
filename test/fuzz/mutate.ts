// SPDX-License-Identifier: MIT
/**
 * What a hostile guest kernel may put into the trace port. Two levels:
 *
 *   raw         bytes of a stream are changed, cut, moved: the checksum must find nearly all of it
 *   structured  fields, lengths, records and strings of a frame are changed and the checksum is made right again:
 *               the reader must live with it
 */
import { AT, KIND, LAYOUTS, REC_SIZE_MASK, SIZE, type StructLayout, type StructName } from '../../lab/abi/layout.js';
import { KINDS, OPCODES, REC_KIND_SHIFT, SUBBUF_MAX } from '../../lab/abi/records.js';
import { subbufCrc } from '../../lab/trace/subbuf.js';
import type { Random } from './random.js';

/** A frame never grows past this: small frames are many frames. */
export const FRAME_MAX = 4096;

const HEADER = SIZE.lemona_subbuf;
const H = AT.lemona_subbuf;

/** Numbers at which something may tip over. */
const TIPPING: readonly bigint[] = [
  ...[0n, 1n, 2n, 3n, 7n, 8n, 15n, 16n, 17n, 24n, 40n, 48n, 95n, 96n, 97n, 104n, 240n, 255n, 256n, 257n],
  ...[4095n, 4096n, 32767n, 32768n, 65535n, 65536n, 1048575n, 1048576n, 1048584n, 2n ** 26n - 8n, 2n ** 26n],
  ...[2n ** 31n - 1n, 2n ** 31n, 2n ** 32n - 8n, 2n ** 32n - 1n, 2n ** 32n, 2n ** 53n - 1n, 2n ** 53n, 2n ** 53n + 1n],
  ...[2n ** 62n, 2n ** 63n - 1n, 2n ** 63n, 2n ** 63n + 1n, 2n ** 64n - 8n, 2n ** 64n - 2n, 2n ** 64n - 1n],
];

/** Strings that hurt where they are printed, used as names of files, or taken for UTF-8. */
export const NASTY: readonly Buffer[] = [
  ...[
    '\x1b[2J\x1b[H',
    '\x1b]0;owned\x07',
    '\x9b31m',
    '\u009b31m',
    '\r\n',
    '\x08\x08\x08',
    '\u202egnp.exe',
    '\u2066x\u2069',
  ],
  ...[
    '\ufeffbom',
    '\u2028',
    '\u200d',
    '\u{e0041}',
    '../../../etc/passwd',
    '/dev/sda',
    '..',
    '.',
    '',
    '\0',
    'a\0b',
    '~',
    '-rf',
    '$(id)',
  ],
  ...['"\\x22', '%s%n', 'x'.repeat(300), '__proto__', 'constructor'],
].map((text) => Buffer.from(text, 'utf8'));
const BAD_UTF8 = [
  Buffer.from([0xff, 0xfe, 0x80]),
  Buffer.from([0xc0, 0xaf]),
  Buffer.from([0xed, 0xa0, 0x80]),
  Buffer.from([0x9b, 0x33]),
];
const STRINGS = [...NASTY, ...BAD_UTF8];

interface Place {
  readonly at: number;
  readonly unit: number;
}

/** Every scalar of a struct, those of embedded structs included. */
function scalars(layout: StructLayout, base = 0): Place[] {
  return layout.fields.flatMap(({ field, offset, size }) => {
    const inner = field.type.startsWith('struct ') ? LAYOUTS.get(field.type.slice(7)) : undefined;
    if (inner !== undefined) return scalars(inner, base + offset);
    const count = field.count ?? 1;
    return Array.from({ length: count }, (_, i) => ({ at: base + offset + (size / count) * i, unit: size / count }));
  });
}

const NO_PLACES: readonly Place[] = [];

function places(name: string | undefined): readonly Place[] {
  const layout = name === undefined ? undefined : LAYOUTS.get(name);
  return layout === undefined ? NO_PLACES : scalars(layout);
}

const HEADER_PLACES = places('lemona_subbuf').filter(
  ({ at }) => at !== H.magic && at !== H.version && at !== H.abi_hash && at !== H.crc32c,
);
/** Those that are no matter of the records inside. */
const STREAM_PLACES = HEADER_PLACES.filter(({ at }) => at < H.seq_first || at >= H.issued);
const KIND_PLACES = new Map(KINDS.map((kind) => [kind.value as number, places(kind.struct)]));
const OP_PLACES = new Map(OPCODES.map((op) => [op.value as number, places(op.struct)]));

/** Bytes of a record's fixed part. */
function fixedOf(kind: number, code: number): number {
  const struct =
    kind === KIND.EFFECT
      ? OPCODES.find((op) => op.value === code)?.struct
      : KINDS.find((k) => k.value === kind)?.struct;
  return struct === undefined ? SIZE.lemona_rec : SIZE[struct as StructName];
}
const FIXED = new Map<number, number>();
for (const { value } of KINDS) FIXED.set(value << 16, fixedOf(value, 0));
for (const { value } of OPCODES) FIXED.set((KIND.EFFECT << 16) | value, fixedOf(KIND.EFFECT, value));

/** A number that is likely to hurt a field of `unit` bytes that holds `old`. */
function hurtful(random: Random, unit: number, old: bigint): bigint {
  const mask = (1n << BigInt(8 * unit)) - 1n;
  switch (random.below(4)) {
    case 0:
      return (old + BigInt(random.below(17)) - 8n) & mask;
    case 1:
      return old ^ (1n << BigInt(random.below(8 * unit)));
    default:
      return random.pick(TIPPING) & mask;
  }
}

function changeField(random: Random, buf: Buffer, { at, unit }: Place): void {
  if (unit === 8) buf.writeBigUInt64LE(hurtful(random, 8, buf.readBigUInt64LE(at)), at);
  else if (unit === 4) buf.writeUInt32LE(Number(hurtful(random, 4, BigInt(buf.readUInt32LE(at)))), at);
  else if (unit === 2) buf.writeUInt16LE(Number(hurtful(random, 2, BigInt(buf.readUInt16LE(at)))), at);
  else buf.writeUInt8(random.below(256), at);
}

/** A frame that is being changed in place: `length` bytes of `buf` are in use. */
export interface Draft {
  readonly buf: Buffer;
  length: number;
}

/** Offsets of the records, as far as their sizes make sense. */
function recordsOf({ buf, length }: Draft): number[] {
  const offsets: number[] = [];
  for (let off = HEADER; off + SIZE.lemona_rec <= length; ) {
    const size = buf.readUInt32LE(off) & REC_SIZE_MASK;
    if (size < SIZE.lemona_rec || size % 8 !== 0 || off + size > length) break;
    offsets.push(off);
    off += size;
  }
  return offsets;
}

function sizeAt({ buf }: Draft, off: number): number {
  return buf.readUInt32LE(off) & REC_SIZE_MASK;
}

/** Makes room for (or removes) `by` bytes at `at`; a multiple of 8. False if the frame would be too long. */
function shift(draft: Draft, at: number, by: number): boolean {
  if (draft.length + by > FRAME_MAX) return false;
  if (by >= 0) {
    draft.buf.copyWithin(at + by, at, draft.length);
    draft.buf.fill(0, at, at + by);
  } else draft.buf.copyWithin(at, at - by, draft.length);
  draft.length += by;
  return true;
}

type Mutation = (random: Random, draft: Draft, off: number, others: readonly Buffer[]) => void;

/** Changes of one record, at `off`. */
const RECORD_MUTATIONS: readonly Mutation[] = [
  // a scalar of its struct: lengths, numbers, counts, times, identities
  function field(random, draft, off) {
    const { buf } = draft;
    const kind = buf.readUInt32LE(off) >>> REC_KIND_SHIFT;
    const all = kind === KIND.EFFECT ? OP_PLACES.get(buf.readUInt16LE(off + 4)) : KIND_PLACES.get(kind);
    if (all === undefined || all.length === 0) return;
    const place = random.pick(all);
    if (place.at + place.unit <= sizeAt(draft, off)) changeField(random, buf, { at: off + place.at, unit: place.unit });
  },
  // the number of an effect: far ahead, back, twice
  function seq(random, draft, off) {
    if (sizeAt(draft, off) >= SIZE.lemona_effect)
      changeField(random, draft.buf, { at: off + AT.lemona_effect.seq, unit: 8 });
  },
  // its kind
  function kind(random, draft, off) {
    draft.buf.writeUInt32LE(sizeAt(draft, off) + random.below(random.oneIn(2) ? 64 : 12) * 2 ** REC_KIND_SHIFT, off);
  },
  // its code: another call, another operation
  function code(random, draft, off) {
    draft.buf.writeUInt16LE(random.oneIn(3) ? random.u32() & 0xffff : random.below(24), off + AT.lemona_rec.code);
  },
  // its size, while the bytes stay
  function size(random, draft, off) {
    const word = draft.buf.readUInt32LE(off);
    const wanted = Number(hurtful(random, 4, BigInt(word & REC_SIZE_MASK))) & REC_SIZE_MASK;
    draft.buf.writeUInt32LE(
      ((word >>> REC_KIND_SHIFT) * 2 ** REC_KIND_SHIFT + (random.oneIn(2) ? wanted & ~7 : wanted)) >>> 0,
      off,
    );
  },
  // shorter or longer, and honest about it: fixed parts that are not all there, tails that are longer than said
  function resize(random, draft, off) {
    const size = sizeAt(draft, off);
    const by = 8 * (random.below(9) - 4);
    if (size + by < SIZE.lemona_rec) return;
    if (by < 0 ? shift(draft, off + size + by, by) : shift(draft, off + size, by))
      draft.buf.writeUInt32LE(draft.buf.readUInt32LE(off) + by, off);
  },
  // a TLV's header: type, argument, lengths, flags
  function tlv(random, draft, off) {
    const at = off + SIZE.lemona_rec + 8 * random.below(8);
    if (at + 16 <= off + sizeAt(draft, off))
      changeField(
        random,
        draft.buf,
        random.pick([
          { at, unit: 2 },
          { at: at + 2, unit: 2 },
          { at: at + 4, unit: 4 },
          { at: at + 8, unit: 4 },
          { at: at + 12, unit: 4 },
        ]),
      );
  },
  // a string that hurts, in the tail or in the task's name
  function string(random, draft, off) {
    const { buf } = draft;
    const size = sizeAt(draft, off);
    const key =
      ((buf.readUInt32LE(off) >>> REC_KIND_SHIFT) << 16) |
      (buf.readUInt32LE(off) >>> REC_KIND_SHIFT === KIND.EFFECT ? buf.readUInt16LE(off + 4) : 0);
    const tail = Math.min(size, random.oneIn(4) ? size - random.below(size) : (FIXED.get(key) ?? SIZE.lemona_rec));
    random.pick(STRINGS).copy(buf, off + tail, 0, Math.max(0, size - tail));
  },
  // bytes of chance
  function garbage(random, draft, off) {
    const size = sizeAt(draft, off);
    const from = SIZE.lemona_rec + random.below(Math.max(1, size - SIZE.lemona_rec));
    for (let i = from; i < size && i < from + 16; i++) draft.buf.writeUInt8(random.u32() & 255, off + i);
  },
  // twice
  function double(_random, draft, off) {
    const size = sizeAt(draft, off);
    if (shift(draft, off, size)) draft.buf.copyWithin(off, off + size, off + 2 * size);
  },
  // gone
  function drop(_random, draft, off) {
    shift(draft, off, -sizeAt(draft, off));
  },
  // a record of another frame before it
  function foreign(random, draft, off, others) {
    const other = random.pick(others);
    const source: Draft = { buf: other, length: other.length };
    const from = random.pick(recordsOf(source));
    if (from !== undefined && shift(draft, off, sizeAt(source, from)))
      other.copy(draft.buf, off, from, from + sizeAt(source, from));
  },
];

/** Puts counts and numbers of the records that are there into the header. */
function tellTruth(draft: Draft): void {
  const { buf } = draft;
  let effects = 0;
  let first = 0n;
  let last = 0n;
  const offsets = recordsOf(draft);
  for (const off of offsets) {
    if (buf.readUInt32LE(off) >>> REC_KIND_SHIFT !== KIND.EFFECT || sizeAt(draft, off) < SIZE.lemona_effect) continue;
    const seq = buf.readBigUInt64LE(off + AT.lemona_effect.seq);
    if (effects === 0 || seq < first) first = seq;
    if (effects === 0 || seq > last) last = seq;
    effects++;
  }
  buf.writeUInt32LE(offsets.length, H.records);
  buf.writeUInt32LE(effects, H.effects);
  buf.writeBigUInt64LE(first, H.seq_first);
  buf.writeBigUInt64LE(last, H.seq_last);
}

/**
 * Changes a frame's structure and seals it again: length and checksum are right, so a reader has to look into it.
 * One time in eight the header lies about its records, too.
 */
export function mutateStructure(random: Random, draft: Draft, others: readonly Buffer[]): void {
  for (let times = 1 + random.below(3); times > 0; times--) {
    const off = random.pick(recordsOf(draft));
    if (off !== undefined) random.pick(RECORD_MUTATIONS)(random, draft, off, others);
  }
  tellTruth(draft);
  if (random.oneIn(4)) changeField(random, draft.buf, random.pick(STREAM_PLACES));
  if (random.oneIn(8)) changeField(random, draft.buf, random.pick(HEADER_PLACES));
  if (!random.oneIn(16)) draft.buf.writeUInt32LE(draft.length, H.length);
  const length = draft.buf.readUInt32LE(H.length);
  // A length that says more than there is takes in what follows, whose checksum nobody made.
  if (length >= HEADER && length <= draft.length) draft.buf.writeUInt32LE(subbufCrc(draft.buf, 0, length), H.crc32c);
}

/** Changes bytes of a stream without a thought for its checksums. @returns the new length */
export function mutateRaw(random: Random, buf: Buffer, length: number): number {
  switch (random.below(8)) {
    case 0: {
      const at = random.below(length);
      buf.writeUInt8(buf.readUInt8(at) ^ (1 << random.below(8)), at);
      return length;
    }
    case 1:
      buf.writeUInt8(random.u32() & 255, random.below(length));
      return length;
    case 2:
      return random.below(length + 1);
    case 3: {
      // bytes vanish
      const at = random.below(length);
      const count = Math.min(length - at, 1 + random.below(random.oneIn(2) ? 8 : 200));
      buf.copyWithin(at, at + count, length);
      return length - count;
    }
    case 4: {
      // bytes appear
      const at = random.below(length + 1);
      const count = 1 + random.below(16);
      buf.copyWithin(at + count, at, length);
      for (let i = 0; i < count; i++) buf.writeUInt8(random.u32() & 255, at + i);
      return length + count;
    }
    case 5: {
      const at = random.below(length);
      const to = random.below(length);
      buf.copyWithin(to, at, Math.min(length, at + random.below(64)));
      return length;
    }
    case 6: {
      // a tipping number at any place
      const unit = random.pick([2, 4, 8]);
      if (length >= 8) changeField(random, buf, { at: random.below(length - 7), unit });
      return length;
    }
    default:
      buf.writeUInt32LE(random.oneIn(2) ? SUBBUF_MAX : random.u32(), Math.min(H.length, Math.max(0, length - 4)));
      return length;
  }
}
