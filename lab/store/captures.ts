// SPDX-License-Identifier: MIT
/** What the captured memory of a call says in words: paths, arguments, addresses. */
import { AT, SIZE, TLV } from '../abi/layout.js';
import { splitAtZeros } from '../trace/calls.js';
import { displayBytes } from '../trace/text.js';
import { sockaddrText } from '../trace/values.js';
import type { TextRef } from './store.js';
import type { Texts } from './texts.js';

const HEAD: number = SIZE.lemona_tlv;
const { type: TYPE_AT, len: LEN_AT } = AT.lemona_tlv;

export interface Address {
  readonly family: number;
  readonly address: TextRef;
}

export interface Words {
  /** All of it, separated by blanks; null: there is none. */
  text: TextRef | null;
  /** The first vector of strings: a program's arguments. */
  args: TextRef | null;
  addresses: Address[];
}

const NONE: Words = { text: null, args: null, addresses: [] };

function argumentsText(bytes: Buffer): string {
  return splitAtZeros(bytes).map(displayBytes).join(' ');
}

/** Reads the TLVs from `from` to `end`; what does not fit ends them. */
export function wordsOf(buf: Buffer, from: number, end: number, texts: Texts): Words {
  if (from >= end) return NONE;
  let words: Words | undefined;
  /** In words; that of the first is made only if there is another one. */
  const parts: string[] = [];
  let first: (() => string) | undefined;
  const add = (part: () => string): void => {
    if (first === undefined) first = part;
    else parts.push(part());
  };
  for (let off = from; end - off >= HEAD; ) {
    const type = buf.readUInt16LE(off + TYPE_AT);
    const length = buf.readUInt32LE(off + LEN_AT);
    const start = off + HEAD;
    off = start + Math.ceil(length / 8) * 8;
    if (off > end) break;
    const stop = start + length;
    let ref: TextRef;
    if (type === TLV.PATH) {
      ref = texts.ofBytes(buf, start, stop);
      add(() => displayBytes(buf.subarray(start, stop)));
      words ??= { text: null, args: null, addresses: [] };
    } else if (type === TLV.STRV && words?.args == null) {
      // The first vector is the arguments; the environment is left out.
      ref = texts.ofText(argumentsText(buf.subarray(start, stop)));
      add(() => argumentsText(buf.subarray(start, stop)));
      words ??= { text: null, args: null, addresses: [] };
      words.args = ref;
    } else if (type === TLV.SOCKADDR && length >= 2) {
      const shown = sockaddrText(buf.subarray(start, stop));
      ref = texts.ofText(shown);
      add(() => shown);
      words ??= { text: null, args: null, addresses: [] };
      words.addresses.push({ family: buf.readUInt16LE(start), address: ref });
    } else continue;
    words.text = ref;
  }
  if (words !== undefined && first !== undefined && parts.length > 0)
    words.text = texts.ofText([first(), ...parts].join(' '));
  return words ?? NONE;
}
