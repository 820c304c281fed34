// SPDX-License-Identifier: MIT
/** Effects as rows, and what they say of names. */
import type { Attr, Effect, MalformedEffect } from '../abi/effects.js';
import { xattrName } from '../trace/render.js';
import { displayBytes } from '../trace/text.js';
import type { File, Files } from './files.js';
import type { Place } from './loader.js';
import { signed } from './numbers.js';
import type { Process } from './processes.js';
import { Batch, type Store, type TextRef, type Value } from './store.js';
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
  moved: { readonly directories: readonly Move[]; readonly seq: number | bigint } | undefined;
  mounted: { readonly dev: number; readonly uuid: Buffer } | undefined;
}

/** The columns that depend on the operation. */
interface Columns {
  path: TextRef | null;
  other: TextRef | null;
  pos: Value;
  len: Value;
  attr: Attr | undefined;
  nlink: number | undefined;
}

export class EffectRows {
  readonly #trace: number;
  readonly #texts: Texts;
  readonly #files: Files;
  readonly #users: Users;
  readonly #rows = new Batch('effects');
  #nextEffect: number;
  #barrier: Barrier = { moved: undefined, mounted: undefined };

  constructor(trace: number, texts: Texts, files: Files, users: Users, nextEffect: number) {
    this.#trace = trace;
    this.#texts = texts;
    this.#files = files;
    this.#users = users;
    this.#nextEffect = nextEffect;
  }

  get isAtBarrier(): boolean {
    return this.#barrier.moved !== undefined || this.#barrier.mounted !== undefined;
  }

  takeBarrier(): Barrier {
    const barrier = this.#barrier;
    this.#barrier = { moved: undefined, mounted: undefined };
    return barrier;
  }

  add(place: Place, effect: Effect | MalformedEffect, what: number, process: Process, tid: number): void {
    const file = effect.ino === 0n ? undefined : this.#files.get(effect.dev, signed(effect.ino), effect.gen);
    const seq = signed(effect.seq);
    const columns: Columns = { path: null, other: null, pos: null, len: null, attr: undefined, nlink: undefined };
    if (file !== undefined) {
      columns.path = this.#files.refOf(file);
      if (effect.op !== 'MALFORMED') this.#ofFile(effect, file, seq, columns);
    }
    if (effect.op !== 'MALFORMED') this.#ofNone(effect, columns);
    const { path, other, pos, len, attr } = columns;
    if (attr !== undefined) this.#users.seen(attr.uid);
    this.#rows.values.push(
      ...[this.#nextEffect++, this.#trace, seq, place.realAt, what, process.id, tid, place.cursor.cpu],
      ...[file?.id ?? null, path, other, pos, len],
      ...(attr === undefined ? [null, null, null, null] : [attr.mode, attr.uid, attr.gid, signed(attr.size)]),
      columns.nlink ?? attr?.nlink ?? null,
    );
  }

  /** Effects on an inode. */
  #ofFile(effect: Effect, file: File, seq: number | bigint, columns: Columns): void {
    const files = this.#files;
    const dirOf = (attr: Attr): File => files.get(effect.dev, signed(attr.ino), attr.gen);
    switch (effect.op) {
      case 'WRITE':
      case 'PAGE': {
        columns.pos = signed(effect.pos);
        columns.len = effect.len;
        const path = files.pathOf(file);
        if (path !== undefined && isPasswd(path))
          this.#users.named(passwdLines(effect.data.toString('latin1'), columns.pos), 'record');
        break;
      }
      case 'SETATTR':
        columns.attr = effect.attr;
        break;
      case 'FALLOCATE':
        columns.pos = signed(effect.offset);
        columns.len = signed(effect.len);
        columns.attr = effect.attr;
        break;
      case 'XATTR':
        columns.other = this.#texts.ofText(xattrName(effect.nameIndex, effect.name));
        columns.attr = effect.attr;
        break;
      case 'UNLINK':
      case 'RMDIR': {
        const dir = dirOf(effect.dir);
        const path = files.join(dir, displayBytes(effect.name));
        files.take(file, dir.id, path, seq);
        columns.path = this.#texts.ofText(path);
        columns.attr = effect.child;
        break;
      }
      case 'TMPFILE':
        columns.attr = effect.child;
        break;
      case 'CREATE':
      case 'MKNOD':
      case 'MKDIR':
      case 'SYMLINK':
      case 'LINK': {
        const dir = dirOf(effect.dir);
        const path = files.join(dir, displayBytes(effect.name));
        files.give(file, dir.id, path, seq);
        columns.path = this.#texts.ofText(path);
        if (effect.extra.length > 0) columns.other = this.#texts.ofText(displayBytes(effect.extra));
        columns.attr = effect.child;
        break;
      }
      case 'RENAME':
        this.#rename(effect, file, seq, columns);
        break;
      default:
    }
  }

  #rename(effect: Extract<Effect, { op: 'RENAME' }>, file: File, seq: number | bigint, columns: Columns): void {
    const files = this.#files;
    const fileOf = (attr: Attr): File => files.get(effect.dev, signed(attr.ino), attr.gen);
    const [oldDir, newDir] = [fileOf(effect.oldDir), fileOf(effect.newDir)];
    const from = files.join(oldDir, displayBytes(effect.oldName));
    const to = files.join(newDir, displayBytes(effect.newName));
    const moved: Move[] = [];
    const move = (dir: File, attr: Attr, a: string, b: string): void => {
      if ((attr.mode & S_IFMT) === S_IFDIR && a !== b) moved.push({ dir, from: a, to: b });
    };
    files.take(file, oldDir.id, from, seq);
    if (effect.target.ino !== 0n) {
      const target = fileOf(effect.target);
      files.take(target, newDir.id, to, seq);
      if ((effect.renameFlags & EXCHANGE) !== 0) {
        files.give(target, oldDir.id, from, seq);
        move(target, effect.target, to, from);
      }
      columns.nlink = effect.target.nlink;
    }
    files.give(file, newDir.id, to, seq);
    move(file, effect.source, from, to);
    if (moved.length > 0) this.#barrier.moved = { directories: moved, seq };
    columns.path = this.#texts.ofText(to);
    columns.other = this.#texts.ofText(from);
    columns.attr = effect.source;
  }

  /** Effects whose text is no path of a file that we follow. */
  #ofNone(effect: Effect, columns: Columns): void {
    switch (effect.op) {
      case 'MOUNT':
      case 'UMOUNT': {
        const path = displayBytes(effect.path);
        columns.path = this.#texts.ofText(path);
        columns.other = this.#texts.ofText(displayBytes(effect.type));
        if (effect.op === 'UMOUNT' || effect.ino === 0n) break;
        const root = this.#files.get(effect.dev, signed(effect.ino), effect.gen);
        if (root.names.length === 0) this.#files.give(root, null, path, signed(effect.seq));
        this.#barrier.mounted = { dev: effect.dev, uuid: effect.uuid };
        break;
      }
      case 'MARK':
        columns.path = this.#texts.ofText(displayBytes(effect.label));
        break;
      case 'TAINT':
      case 'START':
        columns.other = this.#texts.ofText(displayBytes(effect.text));
        break;
      default:
    }
  }

  async flush(store: Store): Promise<void> {
    await store.insert(this.#rows);
  }
}
