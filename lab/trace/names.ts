// SPDX-License-Identifier: MIT
/**
 * Paths of inodes, as far as effects told them: identity is (device, inode, generation), a path is only a hint for
 * people. Directories that were never named by an effect are shown as their inode number.
 */
import type { Attr, Effect } from '../abi/effects.js';
import { displayBytes } from './text.js';

export interface InodeKey {
  readonly dev: number;
  readonly ino: bigint;
  readonly gen: number;
}

interface Name {
  readonly parent: string;
  readonly name: string;
}

/** Names kept; the oldest go first. About 200 bytes each. */
const NAMES_KEPT = 200_000;
/** ext4's root directory. */
const ROOT_INO = 2n;
/** A chain longer than this is a loop made by reused numbers. */
const DEPTH_LIMIT = 64;

function keyOf(dev: number, ino: bigint, gen: number): string {
  return `${dev}:${ino}:${gen}`;
}

export class InodeNames {
  readonly #names = new Map<string, Name>();

  /** Takes what an effect says about names. */
  observe(effect: Effect): void {
    switch (effect.op) {
      case 'CREATE':
      case 'MKNOD':
      case 'MKDIR':
      case 'SYMLINK':
      case 'LINK':
      case 'UNLINK':
      case 'RMDIR':
        this.learn({ dev: effect.dev, ino: effect.ino, gen: effect.gen }, effect.dir, effect.name);
        break;
      case 'RENAME':
        this.learn({ dev: effect.dev, ino: effect.ino, gen: effect.gen }, effect.newDir, effect.newName);
        break;
      default:
    }
  }

  /** Says that the inode has this name in this directory. */
  learn(inode: InodeKey, dir: Pick<Attr, 'ino' | 'gen'>, name: Buffer): void {
    const key = keyOf(inode.dev, inode.ino, inode.gen);
    this.#names.delete(key);
    this.#names.set(key, { parent: keyOf(inode.dev, dir.ino, dir.gen), name: displayBytes(name) });
    if (this.#names.size > NAMES_KEPT) {
      const [oldest] = this.#names.keys();
      if (oldest !== undefined) this.#names.delete(oldest);
    }
  }

  /** `/a/b`, or `#131/b` where a directory's name is not known, or `#131` for an inode that has none. */
  path(dev: number, ino: bigint, gen: number): string {
    const parts: string[] = [];
    let key = keyOf(dev, ino, gen);
    for (let depth = 0; depth < DEPTH_LIMIT; depth++) {
      const inode = key.split(':')[1] ?? '';
      if (inode === String(ROOT_INO)) return `/${parts.join('/')}`;
      const name = this.#names.get(key);
      if (name === undefined) return [`#${inode}`, ...parts].join('/');
      parts.unshift(name.name);
      key = name.parent;
    }
    return parts.join('/');
  }
}
