// SPDX-License-Identifier: MIT
/** What the captured memory of a call says in words: paths, arguments, addresses. */
import { AT, FLAG, KIND, SIZE, TLV } from '../abi/layout.js';
import { abiOf, syscallName } from '../abi/syscalls.js';
import { ARGV_AT, splitAtZeros } from '../trace/calls.js';
import { displayBytes } from '../trace/text.js';
import { sockaddrText } from '../trace/values.js';
import { kindOf } from './kinds.js';
import { EVENT_FLAG } from './schema.js';
import type { TextRef } from './store.js';
import type { Texts } from './texts.js';

const HEAD: number = SIZE.lemona_tlv;
const { type: TYPE_AT, arg: ARG_AT, len: LEN_AT, flags: FLAGS_AT } = AT.lemona_tlv;
/** No call has a number above. */
const NUMBERS = 1024;
/** Of an address, the least that says anything. */
const FAMILY_BYTES = 2;
/** Of a length that the kernel reads and writes. */
const INT_BYTES = 4;

export interface Address {
  readonly family: number;
  readonly address: TextRef;
}

export interface Words {
  /** All of it, separated by blanks; null: there is none. */
  text: TextRef | null;
  /** A program's arguments. */
  args: TextRef | null;
  addresses: Address[];
  /** `EVENT_FLAGS` of what is in the text. */
  flags: number;
  /** The last integer among it: of a call that asks for an address, how many bytes the caller has for it. */
  room: number | null;
}

const NONE: Words = { text: null, args: null, addresses: [], flags: 0, room: null };

/** `ARGV_AT` by kind of event. */
const ARGV_OF_KIND: ReadonlyMap<number, number> = (() => {
  const at = new Map<number, number>();
  for (const abi of [FLAG.F_ABI_64, FLAG.F_ABI_IA32, FLAG.F_ABI_X32]) {
    for (let nr = 0; nr < NUMBERS; nr++) {
      const arg = ARGV_AT.get(syscallName(nr, abiOf(abi)));
      if (arg !== undefined) at.set(kindOf(KIND.ENTRY, nr, abi), arg);
    }
  }
  return at;
})();

/** How a part of a text ends: as it is, with … where it goes on, or after the family of an address. */
const [WHOLE, CUT, FAMILY] = [0, 1, 2];

function partText(type: number, buf: Buffer, start: number, stop: number, end: number): string {
  const rest = end === WHOLE ? '' : '…';
  if (end === FAMILY) return `family${buf.readUInt16LE(start)}:${rest}`;
  const bytes = buf.subarray(start, stop);
  if (type === TLV.PATH) return displayBytes(bytes) + rest;
  if (type === TLV.STRV) return splitAtZeros(bytes).map(displayBytes).join(' ') + rest;
  return sockaddrText(bytes) + rest;
}

/**
 * Reads the TLVs from `from` to `end`; what does not fit ends them. It makes no functions: most calls have TLVs.
 * @param what kind of the event
 * @param room of an exit: bytes that the caller has for an address; null: not known
 */
export function wordsOf(
  buf: Buffer,
  from: number,
  end: number,
  texts: Texts,
  what: number,
  room: number | null = null,
): Words {
  if (from >= end) return NONE;
  let words: Words | undefined;
  /** All parts in words, if there are several; until then where the first one is. */
  let joined: string | undefined;
  let [firstType, firstStart, firstStop, firstEnd] = [0, 0, 0, WHOLE];
  for (let off = from; end - off >= HEAD; ) {
    const head = off;
    const type = buf.readUInt16LE(head + TYPE_AT);
    const length = buf.readUInt32LE(head + LEN_AT);
    const start = head + HEAD;
    off = start + Math.ceil(length / 8) * 8;
    if (off > end) break;
    if (type === TLV.STRUCT && length === INT_BYTES) {
      words ??= { ...NONE, addresses: [] };
      words.room = Math.max(buf.readInt32LE(start), 0);
      continue;
    }
    if (type !== TLV.PATH && type !== TLV.STRV && type !== TLV.SOCKADDR) continue;
    if (type === TLV.STRV && buf.readUInt16LE(head + ARG_AT) !== ARGV_OF_KIND.get(what)) continue;
    const told = buf.readUInt32LE(head + FLAGS_AT);
    let how = (told & FLAG.TLV_F_TRUNCATED) === 0 ? WHOLE : CUT;
    let stop = start + length;
    if (type === TLV.SOCKADDR) {
      // The kernel says how long the address is and writes what there is room for: the rest is the caller's old memory.
      if (room !== null && room < length) {
        stop = start + room;
        how = room === FAMILY_BYTES ? FAMILY : CUT;
      }
      if (stop - start < FAMILY_BYTES) continue;
    }
    const isPlain = type === TLV.PATH && how === WHOLE;
    const ref = isPlain ? texts.ofBytes(buf, start, stop) : texts.ofText(partText(type, buf, start, stop, how));
    if (words === undefined || words.text === null) {
      words ??= { ...NONE, addresses: [] };
      [firstType, firstStart, firstStop, firstEnd] = [type, start, stop, how];
    } else {
      joined ??= partText(firstType, buf, firstStart, firstStop, firstEnd);
      joined += ` ${partText(type, buf, start, stop, how)}`;
    }
    words.text = ref;
    if (type === TLV.STRV) words.args = ref;
    else if (type === TLV.SOCKADDR) words.addresses.push({ family: buf.readUInt16LE(start), address: ref });
    if (how !== WHOLE) words.flags |= EVENT_FLAG.truncated;
    if ((told & FLAG.TLV_F_FAULT) !== 0) words.flags |= EVENT_FLAG.fault;
  }
  if (words === undefined) return NONE;
  if (joined !== undefined) words.text = texts.ofText(joined);
  return words;
}
