// SPDX-License-Identifier: MIT
/**
 * Inodes and their names over time. What is remembered is a cache with a limit: everything is in the database, and
 * `prefetch` gets what a stretch of records needs before they are looked at.
 */
import { BoundedMap } from '../util/bounded-map.js';
import { Batch, type NameBelow, type Store, type TextRef } from './store.js';
import type { Texts } from './texts.js';

/** Inodes remembered, with their names: about 400 bytes each. */
const KEPT = 100_000;

interface Name {
  readonly id: number;
  readonly parent: number | null;
  readonly path: string;
}

export interface File {
  readonly id: number;
  readonly ino: number | bigint;
  /** Names it has, the newest last. */
  names: Name[];
  /** The name it had last, once it has none. */
  last: string | undefined;
}

function fileKey(dev: number, ino: number | bigint | string, gen: number): string {
  return `${dev}:${ino}:${gen}`;
}

export class Files {
  readonly #store: Store;
  readonly #trace: number;
  readonly #texts: Texts;
  readonly #files = new BoundedMap<string, File>(KEPT);
  #nextName: number;
  readonly #given = new Batch('paths');
  readonly #taken = new Batch('paths', ['id', 'until_seq']);

  /** @param nextName number of the next row of `paths` */
  constructor(store: Store, trace: number, texts: Texts, nextName: number) {
    this.#store = store;
    this.#trace = trace;
    this.#texts = texts;
    this.#nextName = nextName;
  }

  /** Gets inodes that are not remembered; `keys` holds device, inode, generation of each. */
  async prefetch(keys: readonly (number | bigint)[]): Promise<void> {
    const missing = new Map<string, readonly [number | bigint, number | bigint, number | bigint]>();
    for (let i = 0; i < keys.length; i += 3) {
      const [dev = 0, ino = 0, gen = 0] = keys.slice(i, i + 3);
      const key = fileKey(Number(dev), ino, Number(gen));
      if (!missing.has(key) && this.#files.get(key) === undefined) missing.set(key, [dev, ino, gen]);
    }
    if (missing.size === 0) return;
    const ids = await this.#store.internFiles(this.#trace, [...missing.values()].flat());
    const byId = new Map<number, File>();
    let at = 0;
    for (const [key, [, ino]] of missing) {
      const file: File = { id: ids[at++] ?? 0, ino, names: [], last: undefined };
      byId.set(file.id, file);
      this.#files.set(key, file);
    }
    for (const { id, file, parent, path } of await this.#store.namesOf(ids)) {
      const found = byId.get(file);
      if (id < 0) {
        if (found) found.last = path;
      } else found?.names.push({ id, parent, path });
    }
  }

  /** An inode that `prefetch` got. */
  get(dev: number, ino: number | bigint, gen: number): File {
    const file = this.#files.get(fileKey(dev, ino, gen));
    if (file === undefined) throw new Error(`inode ${dev}:${ino}:${gen} was not prefetched`);
    return file;
  }

  /** The path that people know it by. */
  pathOf(file: File): string | undefined {
    return file.names.at(-1)?.path ?? file.last;
  }

  refOf(file: File): TextRef | null {
    const path = this.pathOf(file);
    return path === undefined ? null : this.#texts.ofText(path);
  }

  /** A name in a directory as a whole path. */
  join(dir: File, name: string): string {
    // ext4's root directory is number 2; one whose mount was not recorded is taken for the root.
    const base = this.pathOf(dir) ?? (dir.ino === 2 ? '/' : `#${dir.ino}`);
    return base === '/' ? `/${name}` : `${base}/${name}`;
  }

  give(file: File, parent: number | null, path: string, seq: number | bigint): void {
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
    for (const { name } of below) this.#files.delete(fileKey(name.dev, name.ino, name.gen));
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
