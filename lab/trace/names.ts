// SPDX-License-Identifier: MIT
/**
 * Paths of inodes, as far as effects and the image told them: identity is (device, inode, generation), a path is only a
 * hint for people. An inode whose name is not known is shown as its number, `#131`; what is of another file system than
 * the root one has its device before it, `[dev 7:0]/a`. A path of the root file system begins with neither.
 */
import type { Attr, Effect, MalformedEffect } from '../abi/effects.js';
import { BoundedMap } from '../util/bounded-map.js';
import { devicePrefix, displayBytes } from './text.js';

export interface InodeKey {
  readonly dev: number;
  readonly ino: bigint;
  readonly gen: number;
}

/** What is known of the root file system from elsewhere. */
export interface RootFs {
  readonly uuid: Buffer;
  /** Names that were there before the record, as `displayBytes` shows them; a directory comes before what it holds. */
  readonly names: readonly { readonly path: string; readonly ino: number; readonly gen: number }[];
}

interface Name {
  readonly parent: string;
  readonly name: string;
}

/** Names an inode has, the one it has had longest first; once it is deleted, the last it had. */
type Known = readonly Name[];

/** Inodes whose names are kept; the oldest go first. */
const INODES_KEPT = 200_000;
/** Names of one inode that are kept, each of about 200 bytes, and at most a thousand. Nearly all inodes have one. */
const NAMES_KEPT = 4;
/** ext4's root directory. */
const ROOT_INO = 2n;
/** Linux's NAME_MAX: a longer name is no name, and is cut. */
const NAME_BYTES = 255;
/** A chain longer than this is a loop made by reused numbers. */
const DEPTH_LIMIT = 64;
/** Characters of a path, about: Linux's PATH_MAX. */
const PATH_LIMIT = 4096;
const S_IFMT = 0o170000;
const S_IFDIR = 0o040000;
/** Of renameat2(). */
const EXCHANGE = 2;

function keyOf(dev: number, ino: bigint | number, gen: number): string {
  return `${dev}:${ino}:${gen}`;
}

function nameIn(dev: number, dir: Pick<Attr, 'ino' | 'gen'>, name: Buffer): Name {
  return { parent: keyOf(dev, dir.ino, dir.gen), name: displayBytes(name.subarray(0, NAME_BYTES)) };
}

function isSame(a: Name, b: Name): boolean {
  return a.parent === b.parent && a.name === b.name;
}

/** Whatever else was known of it, because something was lost. */
export function hasOneName({ mode, nlink }: Attr): boolean {
  return nlink === 1 || (mode & S_IFMT) === S_IFDIR;
}

export class InodeNames {
  readonly #root: RootFs | undefined;
  readonly #names = new BoundedMap<string, Known>(INODES_KEPT);
  /** Names that only the image told so far. */
  readonly #old = new Map<string, Known>();
  /** Of the root file system: the first that is mounted with its UUID; until then the first that is spoken of. */
  #rootDev: number | undefined;
  #isRootSure = false;

  constructor(root?: RootFs) {
    this.#root = root;
  }

  /** Takes what an effect says about names. */
  observe(effect: Effect): void {
    const { dev } = effect;
    const key = keyOf(dev, effect.ino, effect.gen);
    // Marks and the like are of no device.
    if (dev !== 0) this.#rootDev ??= dev;
    switch (effect.op) {
      case 'MOUNT':
        this.#mounted(dev, effect.uuid);
        break;
      case 'CREATE':
      case 'MKNOD':
      case 'MKDIR':
      case 'SYMLINK':
        this.#set(key, [nameIn(dev, effect.dir, effect.name)]);
        break;
      case 'LINK': {
        const name = nameIn(dev, effect.dir, effect.name);
        // The first name of an O_TMPFILE inode: one that it had before, and lost, counts no more.
        if (hasOneName(effect.child)) this.#set(key, [name]);
        else this.#give(key, name);
        break;
      }
      case 'UNLINK':
        this.#take(key, nameIn(dev, effect.dir, effect.name), effect.child.nlink === 0);
        break;
      case 'RMDIR':
        this.#take(key, nameIn(dev, effect.dir, effect.name), true);
        break;
      case 'RENAME': {
        const { target } = effect;
        const from = nameIn(dev, effect.oldDir, effect.oldName);
        const to = nameIn(dev, effect.newDir, effect.newName);
        if (target.ino !== 0n) {
          const other = keyOf(dev, target.ino, target.gen);
          if ((effect.renameFlags & EXCHANGE) !== 0) this.#move(other, to, from, target);
          else this.#take(other, to, target.nlink === 0);
        }
        this.#move(key, from, to, effect.source);
        break;
      }
      default:
    }
  }

  /** Says that the inode has this name in this directory. */
  learn({ dev, ino, gen }: InodeKey, dir: Pick<Attr, 'ino' | 'gen'>, name: Buffer): void {
    this.#give(keyOf(dev, ino, gen), nameIn(dev, dir, name));
  }

  /** `/a/b`, or `#131/b` where a directory's name is not known, or `#131` for an inode that has none. */
  path(dev: number, ino: bigint, gen: number): string {
    const [first] = this.#known(keyOf(dev, ino, gen));
    return first === undefined ? this.#bare(dev, ino) : this.#whole(dev, first);
  }

  /** What an effect is about: the path that it gives or takes, else all that its inode has; never none. */
  paths(effect: Effect | MalformedEffect): readonly string[] {
    const { dev, ino, gen } = effect;
    switch (effect.op) {
      case 'CREATE':
      case 'MKNOD':
      case 'MKDIR':
      case 'SYMLINK':
      case 'LINK':
      case 'UNLINK':
      case 'RMDIR':
        return [this.#whole(dev, nameIn(dev, effect.dir, effect.name))];
      case 'RENAME':
        return [this.#whole(dev, nameIn(dev, effect.newDir, effect.newName))];
      default: {
        const names = this.#known(keyOf(dev, ino, gen));
        return names.length === 0 ? [this.#bare(dev, ino)] : names.map((name) => this.#whole(dev, name));
      }
    }
  }

  #known(key: string): Known {
    return this.#names.get(key) ?? this.#old.get(key) ?? [];
  }

  #set(key: string, names: Known): void {
    // Else the image's names would come back when these are forgotten.
    this.#old.delete(key);
    this.#names.set(key, names);
  }

  #give(key: string, name: Name): void {
    const names = this.#known(key);
    if (names.length < NAMES_KEPT && !names.some((known) => isSame(known, name))) this.#set(key, [...names, name]);
  }

  #take(key: string, name: Name, isLast: boolean): void {
    this.#set(key, isLast ? [name] : this.#known(key).filter((known) => !isSame(known, name)));
  }

  #move(key: string, from: Name, to: Name, attr: Attr): void {
    const names = this.#known(key);
    if (hasOneName(attr)) this.#set(key, [to]);
    else if (names.some((known) => isSame(known, from)))
      this.#set(
        key,
        names.map((known) => (isSame(known, from) ? to : known)),
      );
    else this.#give(key, to);
  }

  #mounted(dev: number, uuid: Buffer): void {
    if (this.#isRootSure || this.#root === undefined || !uuid.equals(this.#root.uuid)) return;
    this.#rootDev = dev;
    this.#isRootSure = true;
    const directories = new Map<string, string>();
    for (const { path, ino, gen } of this.#root.names) {
      const key = keyOf(dev, ino, gen);
      directories.set(path, key);
      const slash = path.lastIndexOf('/');
      const parent = directories.get(slash === 0 ? '/' : path.slice(0, slash));
      if (path === '/' || parent === undefined) continue;
      this.#old.set(key, [...(this.#old.get(key) ?? []), { parent, name: path.slice(slash + 1) }]);
    }
  }

  #prefix(dev: number): string {
    return this.#rootDev === undefined || dev === this.#rootDev ? '' : devicePrefix(dev);
  }

  #bare(dev: number, ino: bigint): string {
    return `${this.#prefix(dev)}${ino === ROOT_INO ? '/' : `#${ino}`}`;
  }

  #whole(dev: number, { parent, name }: Name): string {
    const parts = [name];
    let key = parent;
    for (let depth = 1, length = name.length + 1; depth < DEPTH_LIMIT && length < PATH_LIMIT; depth++) {
      const inode = key.split(':')[1] ?? '';
      if (inode === String(ROOT_INO)) return `${this.#prefix(dev)}/${parts.join('/')}`;
      const [above] = this.#known(key);
      if (above === undefined) return `${this.#prefix(dev)}#${inode}/${parts.join('/')}`;
      parts.unshift(above.name);
      length += above.name.length + 1;
      key = above.parent;
    }
    return `${this.#prefix(dev)}${parts.join('/')}`;
  }
}
