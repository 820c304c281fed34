// SPDX-License-Identifier: MIT
/**
 * Paths of inodes, as far as effects told them: identity is (device, inode, generation), a path is only a hint for
 * people. Directories that were never named by an effect are shown as their inode number.
 */
import type { Attr, Effect } from '../abi/effects.js';
import { BoundedMap } from '../util/bounded-map.js';
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

/** Names kept; the oldest go first. About 200 bytes each, and at most a thousand. */
const NAMES_KEPT = 200_000;
/** ext4's root directory. */
const ROOT_INO = 2n;
/** Linux's NAME_MAX: a longer name is no name, and is cut. */
const NAME_BYTES = 255;
/** A chain longer than this is a loop made by reused numbers. */
const DEPTH_LIMIT = 64;
/** Characters of a path, about: Linux's PATH_MAX. */
const PATH_LIMIT = 4096;

function keyOf(dev: number, ino: bigint, gen: number): string {
  return `${dev}:${ino}:${gen}`;
}

export class InodeNames {
  readonly #names = new BoundedMap<string, Name>(NAMES_KEPT);

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
    this.#names.set(keyOf(inode.dev, inode.ino, inode.gen), {
      parent: keyOf(inode.dev, dir.ino, dir.gen),
      name: displayBytes(name.subarray(0, NAME_BYTES)),
    });
  }

  /** `/a/b`, or `#131/b` where a directory's name is not known, or `#131` for an inode that has none. */
  path(dev: number, ino: bigint, gen: number): string {
    const parts: string[] = [];
    let key = keyOf(dev, ino, gen);
    for (let depth = 0, length = 0; depth < DEPTH_LIMIT && length < PATH_LIMIT; depth++) {
      const inode = key.split(':')[1] ?? '';
      if (inode === String(ROOT_INO)) return `/${parts.join('/')}`;
      const name = this.#names.get(key);
      if (name === undefined) return [`#${inode}`, ...parts].join('/');
      parts.unshift(name.name);
      length += name.name.length + 1;
      key = name.parent;
    }
    return parts.join('/');
  }
}
