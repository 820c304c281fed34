// SPDX-License-Identifier: MIT
/**
 * Inodes and their names over time. What is remembered is a cache with a limit: everything is in the database, and
 * `prefetch` gets what a stretch of records needs before they are looked at.
 */
import { devicePrefix } from '../trace/text.js';
import { BoundedMap } from '../util/bounded-map.js';
import { narrow } from './numbers.js';
import { Batch, type NameBelow, type Store, type TextRef } from './store.js';
import type { Texts } from './texts.js';

/** Inodes remembered, with their names: about 400 bytes each. */
const KEPT = 100_000;
/** ext4's root directory. */
const ROOT_INO = 2;

interface Name {
  readonly id: number;
  readonly parent: number | null;
  readonly path: string;
}

export interface File {
  id: number;
  readonly dev: number;
  readonly ino: number | bigint;
  readonly gen: number;
  /** Names it has, the newest last. */
  names: Name[];
  /** The name it had last, once it has none. */
  last: string | undefined;
  /** Another one of the same number: an older generation, or of another device. */
  readonly other: File | undefined;
}

export class Files {
  readonly #store: Store;
  readonly #trace: number;
  readonly #texts: Texts;
  /** Of the file system that is `/`. */
  readonly #rootUuid: Buffer | undefined;
  /** Its device, once it was mounted. */
  #rootDev: number | undefined;
  /** By inode number. */
  readonly #files = new BoundedMap<number | bigint, File>(KEPT);
  #nextName: number;
  readonly #given = new Batch('paths');
  readonly #taken = new Batch('paths', ['id', 'until_seq']);

  /**
   * @param rootUuid of the file system that is `/`; unless it is known, that is the first one mounted
   * @param nextName number of the next row of `paths`
   */
  constructor(store: Store, trace: number, texts: Texts, rootUuid: Buffer | undefined, nextName: number) {
    this.#store = store;
    this.#trace = trace;
    this.#texts = texts;
    this.#rootUuid = rootUuid;
    this.#nextName = nextName;
  }

  /** Goes on where the rows of the trace end. */
  async restore(): Promise<void> {
    const [row] = await this.#store.select('SELECT root_dev FROM traces WHERE id = {int 1}', [this.#trace]);
    this.#rootDev = row?.root_dev == null ? undefined : Number(row.root_dev);
  }

  /** Gets inodes that are not remembered; `keys` holds device, inode, generation of each. */
  async prefetch(keys: readonly (number | bigint)[]): Promise<void> {
    const missing: File[] = [];
    for (let i = 0; i < keys.length; i += 3) {
      const [dev, ino, gen] = [Number(keys[i]), keys[i + 1] as number | bigint, Number(keys[i + 2])];
      if (this.#find(dev, ino, gen) !== undefined) continue;
      const file: File = { id: 0, dev, ino, gen, names: [], last: undefined, other: this.#files.get(ino) };
      this.#files.set(ino, file);
      missing.push(file);
    }
    if (missing.length === 0) return;
    const ids = await this.#store.internFiles(
      this.#trace,
      missing.flatMap(({ dev, ino, gen }) => [dev, ino, gen]),
    );
    const byId = new Map<number, File>();
    for (const [i, file] of missing.entries()) {
      file.id = ids[i] ?? 0;
      byId.set(file.id, file);
    }
    for (const { id, file, parent, path } of await this.#store.namesOf(ids)) {
      const found = byId.get(file);
      if (id < 0) {
        if (found) found.last = path;
      } else found?.names.push({ id, parent, path });
    }
  }

  #find(dev: number, ino: number | bigint, gen: number): File | undefined {
    let file = this.#files.get(ino);
    while (file !== undefined && (file.gen !== gen || file.dev !== dev)) file = file.other;
    return file;
  }

  /** An inode that `prefetch` got. */
  get(dev: number, ino: number | bigint, gen: number): File {
    const file = this.#find(dev, ino, gen);
    if (file === undefined) throw new Error(`inode ${dev}:${ino}:${gen} was not prefetched`);
    return file;
  }

  /** The path that people know it by: the one it has had longest, for another link may be there to hide it. */
  pathOf(file: File): string | undefined {
    return file.names[0]?.path ?? file.last;
  }

  refOf(file: File): TextRef | null {
    const path = this.pathOf(file);
    return path === undefined ? null : this.#texts.ofText(path);
  }

  /** A name in a directory as a whole path. */
  join(dir: File, name: string): string {
    const base = this.pathOf(dir) ?? `${this.#prefix(dir.dev)}${dir.ino === ROOT_INO ? '/' : `#${dir.ino}`}`;
    return base.endsWith('/') ? `${base}${name}` : `${base}/${name}`;
  }

  /** Before the root file system's mount was seen, all are taken for it. */
  #prefix(dev: number): string {
    return this.#rootDev === undefined || dev === this.#rootDev ? '' : devicePrefix(dev);
  }

  /**
   * The root directory of a file system that is mounted gets its path.
   * @returns whether it is the root one, seen for the first time
   */
  mounted(top: File, uuid: Buffer, seq: number | bigint): boolean {
    const isRoot = this.#rootDev === undefined && (this.#rootUuid === undefined || uuid.equals(this.#rootUuid));
    if (isRoot) this.#rootDev = top.dev;
    const path = this.#rootDev === top.dev ? '/' : `${devicePrefix(top.dev)}/`;
    if (top.names.length === 0) this.give(top, null, path, seq);
    return isRoot;
  }

  /** @param isOnly it has no other: those that are known are of a time of which something was lost */
  give(file: File, parent: number | null, path: string, seq: number | bigint, isOnly = false): void {
    if (isOnly) for (const { id } of file.names.splice(0)) this.#taken.values.push(id, seq);
    const id = this.#nextName++;
    file.names.push({ id, parent, path });
    this.#given.values.push(id, file.id, parent, this.#texts.ofText(path), seq, null);
  }

  take(file: File, parent: number, path: string, seq: number | bigint): void {
    const at = file.names.findIndex((name) => name.parent === parent && name.path === path);
    const [name] = at < 0 ? [] : file.names.splice(at, 1);
    if (name !== undefined) this.#taken.values.push(name.id, seq);
    if (file.names.length === 0) file.last = path;
  }

  async flush(): Promise<void> {
    await this.#store.insert(this.#given);
    await this.#store.update(this.#taken);
  }

  /** A directory's path is another now, and with it those of all below: all batches must be flushed. */
  async move(
    moved: readonly { readonly dir: File; readonly from: string; readonly to: string }[],
    seq: number | bigint,
  ): Promise<void> {
    const below: { readonly name: NameBelow; readonly path: string }[] = [];
    // All are looked up before one is changed: two directories may change places.
    for (const { dir, from, to } of moved) {
      for (const name of await this.#store.namesBelow(dir.id)) {
        if (name.path.startsWith(`${from}/`)) below.push({ name, path: `${to}${name.path.slice(from.length)}` });
      }
    }
    if (below.length === 0) return;
    for (const { name, path } of below) {
      this.#taken.values.push(name.id, seq);
      this.#given.values.push(this.#nextName++, name.file, name.parent, this.#texts.ofText(path), seq, null);
    }
    await this.#texts.flush(this.#store);
    await this.flush();
    // They are read again when somebody asks.
    for (const { name } of below) this.#files.delete(narrow(BigInt(name.ino)));
  }

  /** Names that were there before the record: each directory before what it holds. */
  async begin(dev: number, names: AsyncIterable<BaseName> | Iterable<BaseName>): Promise<void> {
    const directories = new Map<string, number>();
    for await (const chunk of inChunks(names)) {
      await this.prefetch(chunk.flatMap(({ ino, gen }) => [dev, ino, gen]));
      for (const { path, ino, gen } of chunk) {
        const file = this.get(dev, ino, gen);
        directories.set(path, file.id);
        if (file.names.some((name) => name.path === path)) continue;
        const slash = path.lastIndexOf('/');
        this.give(file, directories.get(slash === 0 ? '/' : path.slice(0, slash)) ?? null, path, 0);
      }
      await this.#texts.flush(this.#store);
      await this.flush();
    }
  }
}

/** A name in the checkpoint's image; odd bytes as `displayBytes` shows them. */
export interface BaseName {
  readonly path: string;
  readonly ino: number;
  readonly gen: number;
}

const CHUNK_NAMES = 10_000;

async function* inChunks<T>(items: AsyncIterable<T> | Iterable<T>): AsyncGenerator<T[]> {
  let chunk: T[] = [];
  for await (const item of items) {
    chunk.push(item);
    if (chunk.length < CHUNK_NAMES) continue;
    yield chunk;
    chunk = [];
  }
  if (chunk.length > 0) yield chunk;
}
