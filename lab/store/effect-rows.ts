// SPDX-License-Identifier: MIT
/** Effects as rows, and what they say of names. */
import { type Attr, decodeEffect, type Effect } from '../abi/effects.js';
import { AT, KIND, OP, SIZE } from '../abi/layout.js';
import { REC_KIND_SHIFT } from '../abi/records.js';
import { hasOneName } from '../trace/names.js';
import { xattrName } from '../trace/render.js';
import { displayBytes } from '../trace/text.js';
import type { File, Files } from './files.js';
import { nearU64, readSigned, signed } from './numbers.js';
import type { Cursor } from './ordered.js';
import type { Thread } from './processes.js';
import { placesOf, Rows } from './rows.js';
import type { Spot, Stretch } from './spot.js';
import type { Store } from './store.js';
import type { Texts } from './texts.js';
import { isPasswd, passwdLines, type Users } from './users.js';

const S_IFMT = 0o170000;
const S_IFDIR = 0o040000;
/** Of renameat2(). */
const EXCHANGE = 2;

interface Move {
  readonly dir: File;
  readonly from: string;
  readonly to: string;
}

/** What must be in the database before the next record is looked at. */
export interface Barrier {
  /** Its number is not above all before it: whether it is there already must be looked up, and it comes again then. */
  doubtful: boolean;
  moved: { readonly directories: readonly Move[]; readonly seq: number | bigint } | undefined;
  /** Device of the root file system: it was mounted. */
  rootDev: number | undefined;
}

/** An effect whose number was there already: which of the two happened, nobody can say, so the first one stays. */
export interface Doubled {
  readonly segment: number;
  readonly offset: number;
  readonly kind: 'doubled';
  readonly detail: string;
}

const NO_BARRIER: Readonly<Barrier> = { doubtful: false, moved: undefined, rootDev: undefined };

const [ID, TRACE, SEQ, TIME, KIND_OF, PROCESS, TID, CPU, EXEC, EUID] = placesOf('effects', [
  ...(['id', 'trace', 'seq', 'time_ns', 'kind', 'process', 'tid', 'cpu', 'exec', 'euid'] as const),
]);
const [FILE, PATH, OTHER, POS, LEN, VALID, MODE, UID, GID, BYTES, NLINK] = placesOf('effects', [
  ...(['file', 'path', 'other', 'pos', 'len', 'valid', 'mode', 'uid', 'gid', 'size', 'nlink'] as const),
]);

const E = AT.lemona_effect;
const A = AT.lemona_attr;
const W = AT.lemona_write;

/** Where a record holds the attributes of its inode, by operation; -1: it holds none. */
const ATTR_AT: readonly number[] = (() => {
  const table: number[] = Array.from({ length: 64 }, () => -1);
  for (const op of [OP.CREATE, OP.MKNOD, OP.MKDIR, OP.SYMLINK, OP.TMPFILE, OP.LINK, OP.UNLINK, OP.RMDIR])
    table[op] = AT.lemona_dentry.child;
  table[OP.SETATTR] = AT.lemona_setattr.attr;
  table[OP.RENAME] = AT.lemona_rename.source;
  table[OP.FALLOCATE] = AT.lemona_fallocate.attr;
  table[OP.XATTR] = AT.lemona_xattr.attr;
  return table;
})();

export class EffectRows {
  readonly #trace: number;
  readonly #texts: Texts;
  readonly #files: Files;
  readonly #users: Users;
  readonly #rows = new Rows('effects');
  #nextEffect: number;
  #barrier: Barrier = { ...NO_BARRIER };
  /** Greatest number so far that a double holds. */
  #highest = -1;
  /** Numbers that are there, as far as the stretch needs them; undefined: it was not in doubt yet. */
  #there: Set<string> | undefined;
  /** What looks them up is there. */
  #hasIndex = false;
  #doubled: Doubled[] = [];

  constructor(trace: number, texts: Texts, files: Files, users: Users, nextEffect: number) {
    this.#trace = trace;
    this.#texts = texts;
    this.#files = files;
    this.#users = users;
    this.#nextEffect = nextEffect;
  }

  /** Goes on where the rows of the trace end. */
  async restore(store: Store): Promise<void> {
    const [row] = await store.select(
      `SELECT max(seq) AS seq FROM effects WHERE trace = {int 1} AND seq <= ${Number.MAX_SAFE_INTEGER}`,
      [this.#trace],
    );
    this.#highest = Number(row?.seq ?? -1);
  }

  get isInDoubt(): boolean {
    return this.#barrier.doubtful;
  }

  get isAtBarrier(): boolean {
    return this.#barrier.moved !== undefined || this.#barrier.rootDev !== undefined;
  }

  takeBarrier(): Barrier {
    const barrier = this.#barrier;
    this.#barrier = { ...NO_BARRIER };
    return barrier;
  }

  /** Looks up which numbers of the rest of a stretch are in the database; all rows before it must be. */
  async lookUp(store: Store, { cursors, offs, length }: Stretch, from: number): Promise<void> {
    // A first load has none so far, and a hostile order of records would have it read all rows again and again.
    if (!this.#hasIndex) await store.makeIndex('effects', ['trace', 'seq']);
    this.#hasIndex = true;
    const numbers: (number | bigint)[] = [];
    for (let i = from; i < length; i++) {
      const { bytes } = cursors[i] as Cursor;
      const off = offs[i] as number;
      if (bytes.readUInt32LE(off) >>> REC_KIND_SHIFT === KIND.EFFECT) numbers.push(readSigned(bytes, off + E.seq));
    }
    const rows = await store.select(
      `SELECT CAST(seq AS text) AS seq FROM effects WHERE trace = {int 1} AND seq IN (${numbers.join(', ')})`,
      [this.#trace],
    );
    this.#there = new Set(rows.map(({ seq }) => String(seq)));
  }

  /** The stretch is over. */
  forgetLookedUp(): void {
    this.#there = undefined;
  }

  takeDoubled(): Doubled[] {
    const doubled = this.#doubled;
    this.#doubled = [];
    return doubled;
  }

  /** Whether the effect is to be a row. */
  #isNew({ cursor, buf, off }: Spot): boolean {
    const near = nearU64(buf, off + E.seq);
    const isAbove = near > this.#highest && near <= Number.MAX_SAFE_INTEGER;
    if (isAbove) this.#highest = near;
    if (this.#there === undefined) {
      this.#barrier.doubtful = !isAbove;
      return isAbove;
    }
    const number = String(readSigned(buf, off + E.seq));
    if (!this.#there.has(number)) {
      this.#there.add(number);
      return true;
    }
    const detail = `effect ${BigInt.asUintN(64, BigInt(number))} is there twice: this one is left out`;
    const { segment, offset } = cursor.stored;
    this.#doubled.push({ segment, offset: offset + off, kind: 'doubled', detail });
    return false;
  }

  add(spot: Spot, what: number, { process, euid }: Thread): void {
    if (!this.#isNew(spot)) return;
    const { buf, off, code } = spot;
    const rows = this.#rows;
    const row = rows.add();
    rows.set(row, ID, this.#nextEffect++);
    rows.set(row, TRACE, this.#trace);
    rows.copy(row, SEQ, buf, off + E.seq);
    spot.putTime(rows, row, TIME);
    rows.set(row, KIND_OF, what);
    rows.set(row, PROCESS, process.id);
    rows.set(row, TID, spot.tid);
    rows.set(row, CPU, spot.cursor.cpu);
    if (process.exec !== null) rows.set(row, EXEC, process.exec);
    if (euid !== null) rows.set(row, EUID, euid);
    const ino = readSigned(buf, off + E.ino);
    const file =
      ino === 0 ? undefined : this.#files.get(buf.readUInt32LE(off + E.dev), ino, buf.readUInt32LE(off + E.gen));
    if (file !== undefined) rows.set(row, FILE, file.id);
    const isKnown = this.#isPlain(spot, file, row) || this.#decoded(spot, file, row);
    if (!rows.has(row, PATH)) rows.setText(row, PATH, file === undefined ? null : this.#files.refOf(file));
    const attrAt = isKnown ? (ATTR_AT[code] ?? -1) : -1;
    if (attrAt >= 0) this.#attr(buf, off + attrAt, row);
  }

  /** Most effects are a write or a sample of the times, and need no decoding. */
  #isPlain({ buf, off, size, code }: Spot, file: File | undefined, row: number): boolean {
    if (code === OP.SETATTR) {
      if (size < SIZE.lemona_setattr) return false;
      this.#rows.set(row, VALID, buf.readUInt32LE(off + AT.lemona_setattr.valid));
      return true;
    }
    if ((code !== OP.WRITE && code !== OP.PAGE) || size < SIZE.lemona_write) return false;
    const length = buf.readUInt32LE(off + W.len);
    if (SIZE.lemona_write + length > size) return false;
    this.#rows.copy(row, POS, buf, off + W.pos);
    this.#rows.set(row, LEN, length);
    const path = file === undefined ? undefined : this.#files.pathOf(file);
    if (path?.startsWith('/etc/') && isPasswd(path)) {
      const from = off + SIZE.lemona_write;
      const text = buf.toString('latin1', from, from + length);
      this.#users.named(passwdLines(text, readSigned(buf, off + W.pos)), 'record');
    }
    return true;
  }

  /** @returns false for a malformed one */
  #decoded({ buf, off, size }: Spot, file: File | undefined, row: number): boolean {
    const effect = decodeEffect(buf, off, size);
    if (effect.op === 'MALFORMED') return false;
    if (file !== undefined) this.#ofFile(effect, file, row);
    this.#ofNone(effect, row);
    return true;
  }

  #attr(buf: Buffer, off: number, row: number): void {
    const rows = this.#rows;
    const uid = buf.readUInt32LE(off + A.uid);
    this.#users.seen(uid);
    rows.set(row, MODE, buf.readUInt32LE(off + A.mode));
    rows.set(row, UID, uid);
    rows.set(row, GID, buf.readUInt32LE(off + A.gid));
    rows.copy(row, BYTES, buf, off + A.size);
    if (!rows.has(row, NLINK)) rows.set(row, NLINK, buf.readUInt32LE(off + A.nlink));
  }

  /** Another inode that an effect is about. */
  #fileOf({ dev }: Effect, { ino, gen }: Attr): File {
    return this.#files.get(dev, signed(ino), gen);
  }

  #put(row: number, column: number, bytes: Buffer): void {
    this.#rows.setText(row, column, this.#texts.ofText(displayBytes(bytes)));
  }

  /** Effects on an inode. */
  #ofFile(effect: Effect, file: File, row: number): void {
    const files = this.#files;
    const rows = this.#rows;
    const seq = signed(effect.seq);
    switch (effect.op) {
      case 'FALLOCATE':
        rows.setAny(row, POS, signed(effect.offset));
        rows.setAny(row, LEN, signed(effect.len));
        break;
      case 'XATTR':
        rows.setText(row, OTHER, this.#texts.ofText(xattrName(effect.nameIndex, effect.name)));
        break;
      case 'UNLINK':
      case 'RMDIR': {
        const dir = this.#fileOf(effect, effect.dir);
        const path = files.join(dir, displayBytes(effect.name));
        files.take(file, dir.id, path, seq);
        rows.setText(row, PATH, this.#texts.ofText(path));
        break;
      }
      case 'CREATE':
      case 'MKNOD':
      case 'MKDIR':
      case 'SYMLINK':
      case 'LINK': {
        const dir = this.#fileOf(effect, effect.dir);
        const path = files.join(dir, displayBytes(effect.name));
        files.give(file, dir.id, path, seq, hasOneName(effect.child));
        rows.setText(row, PATH, this.#texts.ofText(path));
        if (effect.extra.length > 0) this.#put(row, OTHER, effect.extra);
        break;
      }
      case 'RENAME':
        this.#rename(effect, file, row);
        break;
      default:
    }
  }

  #rename(effect: Extract<Effect, { op: 'RENAME' }>, file: File, row: number): void {
    const files = this.#files;
    const seq = signed(effect.seq);
    const [oldDir, newDir] = [this.#fileOf(effect, effect.oldDir), this.#fileOf(effect, effect.newDir)];
    const from = files.join(oldDir, displayBytes(effect.oldName));
    const to = files.join(newDir, displayBytes(effect.newName));
    const moved: Move[] = [];
    const move = (dir: File, attr: Attr, a: string, b: string): void => {
      if ((attr.mode & S_IFMT) === S_IFDIR && a !== b) moved.push({ dir, from: a, to: b });
    };
    files.take(file, oldDir.id, from, seq);
    if (effect.target.ino !== 0n) {
      const target = this.#fileOf(effect, effect.target);
      files.take(target, newDir.id, to, seq);
      if ((effect.renameFlags & EXCHANGE) !== 0) {
        files.give(target, oldDir.id, from, seq, hasOneName(effect.target));
        move(target, effect.target, to, from);
      }
      this.#rows.set(row, NLINK, effect.target.nlink);
      this.#rows.setAny(row, LEN, signed(effect.target.size));
    }
    files.give(file, newDir.id, to, seq, hasOneName(effect.source));
    move(file, effect.source, from, to);
    if (moved.length > 0) this.#barrier.moved = { directories: moved, seq };
    this.#rows.setText(row, PATH, this.#texts.ofText(to));
    this.#rows.setText(row, OTHER, this.#texts.ofText(from));
  }

  /** Effects whose text is no path of a file that we follow. */
  #ofNone(effect: Effect, row: number): void {
    switch (effect.op) {
      case 'MOUNT':
      case 'UMOUNT': {
        if (effect.source.length > 0) this.#put(row, PATH, effect.source);
        this.#put(row, OTHER, effect.type);
        if (effect.op === 'UMOUNT' || effect.ino === 0n) break;
        const top = this.#files.get(effect.dev, signed(effect.ino), effect.gen);
        if (this.#files.mounted(top, effect.uuid, signed(effect.seq))) this.#barrier.rootDev = effect.dev;
        break;
      }
      case 'MARK':
        this.#put(row, PATH, effect.label);
        break;
      case 'TAINT':
      case 'START':
        this.#put(row, OTHER, effect.text);
        break;
      default:
    }
  }

  async flush(store: Store): Promise<void> {
    await store.insertRows(this.#rows);
  }
}
