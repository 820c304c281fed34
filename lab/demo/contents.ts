// SPDX-License-Identifier: MIT
/**
 * Contents of files that were born and deleted within a record, from its
 * effects alone. Small files only; what is larger, or was changed in a way
 * that is not followed here, keeps its size and loses its content.
 */
import type { Effect } from '../abi/effects.js';
import { FLAG } from '../abi/layout.js';
import { BoundedMap } from '../util/bounded-map.js';

/** A file larger than this keeps no content: recovered files are for reading. */
const FILE_LIMIT_BYTES = 32 * 1024;
/** Files followed; those not touched longest go first. With the limit above, at most 128 MiB. */
const FILES_KEPT = 4096;

const S_IFMT = 0o170000;
const S_IFREG = 0o100000;

interface Kept {
  content: Buffer | undefined;
  /** False until its birth was seen: writes may come shortly before the effect that names a new file. */
  isBorn: boolean;
}

const keyOf = (dev: number, ino: bigint, gen: number) => `${dev}:${ino}:${gen}`;

export class FileContents {
  readonly #files = new BoundedMap<string, Kept>(FILES_KEPT);

  /** The content now, or undefined if it is not known. */
  get(dev: number, ino: bigint, gen: number): Buffer | undefined {
    const kept = this.#files.get(keyOf(dev, ino, gen));
    return kept?.isBorn === true ? kept.content : undefined;
  }

  observe(effect: Effect): void {
    const key = keyOf(effect.dev, effect.ino, effect.gen);
    if (effect.op === 'GONE') {
      this.#files.delete(key);
      return;
    }
    if ((effect.op === 'CREATE' || effect.op === 'TMPFILE') && (effect.child.mode & S_IFMT) === S_IFREG) {
      const kept = this.#files.get(key);
      if (kept === undefined) this.#files.set(key, { content: Buffer.alloc(0), isBorn: true });
      else kept.isBorn = true;
      return;
    }
    if (effect.op === 'WRITE' || effect.op === 'PAGE') {
      const end = Number(effect.pos) + effect.data.length;
      if (!this.#files.has(key)) this.#files.set(key, { content: Buffer.alloc(0), isBorn: false });
      const old = this.#files.get(key)?.content;
      if (old === undefined) return;
      if (end > FILE_LIMIT_BYTES) {
        this.#set(key, undefined);
        return;
      }
      const next = Buffer.alloc(Math.max(end, old.length));
      old.copy(next);
      effect.data.copy(next, Number(effect.pos));
      this.#set(key, next);
      return;
    }
    const kept = this.#files.get(key);
    if (kept?.content === undefined) return;
    if (effect.op === 'SETATTR' && (effect.valid & FLAG.VALID_SIZE) !== 0) {
      const size = Number(effect.attr.size);
      if (size > FILE_LIMIT_BYTES) {
        this.#set(key, undefined);
        return;
      }
      const next = Buffer.alloc(size);
      kept.content.copy(next, 0, 0, Math.min(size, kept.content.length));
      this.#set(key, next);
    } else if (effect.op === 'FALLOCATE') {
      this.#set(key, undefined);
    }
  }

  #set(key: string, content: Buffer | undefined): void {
    const kept = this.#files.get(key);
    if (kept !== undefined) kept.content = content;
  }
}
