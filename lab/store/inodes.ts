// SPDX-License-Identifier: MIT
/** The inodes that records speak of, without decoding them: what has to be looked up before they are loaded. */
import { AT, KIND, OP, REC_SIZE_MASK, SIZE } from '../abi/layout.js';
import { REC_KIND_SHIFT } from '../abi/records.js';
import { readSigned } from './numbers.js';
import type { Cursor } from './ordered.js';
import type { Stretch } from './spot.js';

const { ino: INO_AT, gen: GEN_AT } = AT.lemona_attr;
const D = AT.lemona_dentry;
const N = AT.lemona_rename;

/** Where, after the object itself, an effect holds attributes of an inode that its rows need. */
const OTHERS: readonly ({ readonly fixed: number; readonly at: readonly number[] } | undefined)[] = (() => {
  const table: ({ readonly fixed: number; readonly at: readonly number[] } | undefined)[] = [];
  for (const op of [OP.CREATE, OP.MKNOD, OP.MKDIR, OP.SYMLINK, OP.TMPFILE, OP.LINK, OP.UNLINK, OP.RMDIR])
    table[op] = { fixed: SIZE.lemona_dentry, at: [D.dir] };
  table[OP.RENAME] = { fixed: SIZE.lemona_rename, at: [N.old_dir, N.new_dir, N.target] };
  return table;
})();

/** Where other kinds of records hold device, inode and generation. */
const PLAIN = [
  { kind: KIND.EFFECT, fixed: SIZE.lemona_effect, at: AT.lemona_effect },
  { kind: KIND.FAULT, fixed: SIZE.lemona_fault, at: AT.lemona_fault },
  { kind: KIND.EXEC, fixed: SIZE.lemona_exec, at: AT.lemona_exec },
  { kind: KIND.LOST, fixed: SIZE.lemona_lost, at: AT.lemona_lost },
] as const;
const PLAIN_BY_KIND: readonly ((typeof PLAIN)[number] | undefined)[] = (() => {
  const table: ((typeof PLAIN)[number] | undefined)[] = [];
  for (const row of PLAIN) table[row.kind] = row;
  return table;
})();

const { EFFECT } = KIND;
const CODE_AT: number = AT.lemona_rec.code;

/** Device, inode, generation of each, one after the other; an inode may come more than once. */
export function inodesOf({ cursors, offs, length }: Stretch, from: number): (number | bigint)[] {
  const keys: (number | bigint)[] = [];
  for (let i = from; i < length; i++) {
    const buf = (cursors[i] as Cursor).bytes;
    const off = offs[i] as number;
    const word = buf.readUInt32LE(off);
    const kind = word >>> REC_KIND_SHIFT;
    const plain = PLAIN_BY_KIND[kind];
    const size = word & REC_SIZE_MASK;
    if (plain === undefined || size < plain.fixed) continue;
    const dev = buf.readUInt32LE(off + plain.at.dev);
    keys.push(dev, readSigned(buf, off + plain.at.ino), buf.readUInt32LE(off + plain.at.gen));
    if (kind !== EFFECT) continue;
    const others = OTHERS[buf.readUInt16LE(off + CODE_AT)];
    if (others === undefined || size < others.fixed) continue;
    for (const at of others.at) keys.push(dev, readSigned(buf, off + at + INO_AT), buf.readUInt32LE(off + at + GEN_AT));
  }
  return keys;
}
