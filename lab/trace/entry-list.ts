// SPDX-License-Identifier: MIT
/**
 * Where the sub-buffers of one CPU stand, in file order: as many as a run has, in memory that does not grow with them.
 *
 * An entry is a row of fixed size. Rows fill blocks; the first blocks stay in memory, which is all there ever is of most
 * runs, and the others go to a file. Of each block only its place and the number it has reached are kept: 40 bytes for
 * 1024 sub-buffers.
 *
 *   0  u32  segment        16  u64  first number    48  u32  effects
 *   4  u32  length         24  u64  last number     52  u32  1: the effects do not ascend
 *   8  f64  offset         32  u64  monotonic ns
 *                          40  u64  wall clock ns
 */
import { randomUUID } from 'node:crypto';
import { type FileHandle, open, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ioError, LabError, systemCodeOf } from '../util/errors.js';

export interface SubbufEntry {
  readonly segment: number;
  readonly offset: number;
  readonly length: number;
  readonly monoNs: bigint;
  readonly realNs: bigint;
  /** 0n: holds no effect. */
  readonly seqFirst: bigint;
  readonly seqLast: bigint;
  readonly effects: number;
  /** False if effects inside do not ascend: legal to read, but not what the writer promises. */
  readonly isAscending: boolean;
}

const ROW_BYTES = 56;
const EFFECTS_AT = 48;
const BLOCK_ROWS = 1024;
export const BLOCK_BYTES = BLOCK_ROWS * ROW_BYTES;
/** All streams' together: 29 MB, 524,288 sub-buffers. */
const BLOCKS_IN_MEMORY = 512;

function putRow(block: Buffer, off: number, entry: SubbufEntry): void {
  block.writeUInt32LE(entry.segment, off);
  block.writeUInt32LE(entry.length, off + 4);
  block.writeDoubleLE(entry.offset, off + 8);
  block.writeBigUInt64LE(entry.seqFirst, off + 16);
  block.writeBigUInt64LE(entry.seqLast, off + 24);
  block.writeBigUInt64LE(entry.monoNs, off + 32);
  block.writeBigUInt64LE(entry.realNs, off + 40);
  block.writeUInt32LE(entry.effects, off + EFFECTS_AT);
  block.writeUInt32LE(entry.isAscending ? 0 : 1, off + 52);
}

function rowAt(block: Buffer, off: number): SubbufEntry {
  return {
    segment: block.readUInt32LE(off),
    length: block.readUInt32LE(off + 4),
    offset: block.readDoubleLE(off + 8),
    seqFirst: block.readBigUInt64LE(off + 16),
    seqLast: block.readBigUInt64LE(off + 24),
    monoNs: block.readBigUInt64LE(off + 32),
    realNs: block.readBigUInt64LE(off + 40),
    effects: block.readUInt32LE(off + EFFECTS_AT),
    isAscending: block.readUInt32LE(off + 52) === 0,
  };
}

/** In memory, or its place in the file. */
type Place = Buffer | number;

/** Full blocks of all streams of a run. Whoever makes it closes it. */
export class BlockStore {
  readonly #runDir: string;
  #room: number;
  #file: FileHandle | undefined;
  #inFile = 0;

  /** @param blocksInMemory others go to a file in the run's folder, or among the host's temporary ones */
  constructor(runDir: string, blocksInMemory = BLOCKS_IN_MEMORY) {
    this.#runDir = runDir;
    this.#room = blocksInMemory;
  }

  /** Keeps a block, which is not changed any more. */
  async put(block: Buffer): Promise<Place> {
    if (this.#room > 0) {
      this.#room--;
      return block;
    }
    this.#file ??= await scratchFile([this.#runDir, tmpdir()]);
    const at = this.#inFile++ * BLOCK_BYTES;
    try {
      for (let done = 0; done < block.length; )
        done += (await this.#file.write(block, done, block.length - done, at + done)).bytesWritten;
    } catch (error) {
      throw ioError(`writing the index of ${this.#runDir} to a temporary file`, error);
    }
    return at;
  }

  async get(place: Place): Promise<Buffer> {
    if (typeof place !== 'number') return place;
    const block = Buffer.allocUnsafeSlow(BLOCK_BYTES);
    try {
      for (let done = 0; done < block.length; ) {
        const { bytesRead = 0 } = (await this.#file?.read(block, done, block.length - done, place + done)) ?? {};
        if (bytesRead === 0)
          throw new LabError('LAB_BUG', `the index of ${this.#runDir} is closed, or its file was cut`);
        done += bytesRead;
      }
    } catch (error) {
      throw ioError(`reading the index of ${this.#runDir} from its temporary file`, error);
    }
    return block;
  }

  async close(): Promise<void> {
    const file = this.#file;
    this.#file = undefined;
    await file?.close();
  }
}

/** A file without a name in the first folder that may be written to: it is gone when the process is, however it ends. */
async function scratchFile(folders: readonly string[]): Promise<FileHandle> {
  let refused: unknown;
  for (const folder of folders) {
    const path = join(folder, `.index-${randomUUID()}`);
    try {
      const file = await open(path, 'wx+', 0o600);
      await rm(path);
      return file;
    } catch (error) {
      refused = error;
      if (!['EACCES', 'EPERM', 'EROFS'].includes(systemCodeOf(error) ?? '')) break;
    }
  }
  throw ioError(`making a temporary file in ${folders.join(' or ')}`, refused);
}

/** One CPU's entries. Numbers of effects ascend from one to the next that has any. */
export class EntryList {
  readonly #store: BlockStore;
  /** Full ones, each with the largest number in it and all before it. */
  readonly #blocks: { readonly place: Place; readonly reached: bigint }[] = [];
  #tail = Buffer.allocUnsafeSlow(BLOCK_BYTES);
  #rows = 0;
  #reached = 0n;

  constructor(store: BlockStore) {
    this.#store = store;
  }

  /** Largest number of an effect so far. */
  get reached(): bigint {
    return this.#reached;
  }

  /** @returns something to wait for now and then, before the next one is appended */
  append(entry: SubbufEntry): Promise<void> | undefined {
    putRow(this.#tail, this.#rows++ * ROW_BYTES, entry);
    if (entry.effects > 0) this.#reached = entry.seqLast;
    return this.#rows === BLOCK_ROWS ? this.#endBlock() : undefined;
  }

  async #endBlock(): Promise<void> {
    this.#blocks.push({ place: await this.#store.put(this.#tail), reached: this.#reached });
    this.#tail = Buffer.allocUnsafeSlow(BLOCK_BYTES);
    this.#rows = 0;
  }

  /** All entries. */
  all(): EntryCursor {
    return new EntryCursor(this, { block: 0, step: 1, hasEffects: false });
  }

  /** Those that hold effects, beginning a little before number `seq`. */
  effectsFrom(seq: bigint): EntryCursor {
    let low = 0;
    let high = this.#blocks.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#blocks[middle]?.reached ?? seq) < seq) low = middle + 1;
      else high = middle;
    }
    return new EntryCursor(this, { block: low, step: 1, hasEffects: true });
  }

  /** Those that hold effects, the last one first. */
  effectsBackwards(): EntryCursor {
    return new EntryCursor(this, { block: this.#blocks.length, step: -1, hasEffects: true });
  }

  /** For the cursor: the rows of a block; undefined beyond either end. */
  async block(number: number): Promise<Buffer | undefined> {
    if (number === this.#blocks.length) return this.#tail.subarray(0, this.#rows * ROW_BYTES);
    const block = this.#blocks[number];
    return block === undefined ? undefined : this.#store.get(block.place);
  }
}

/** Goes through a list, a block at a time. */
export class EntryCursor {
  readonly #list: EntryList;
  readonly #step: 1 | -1;
  readonly #hasEffects: boolean;
  #next: number;
  #rows: Buffer = Buffer.alloc(0);
  #off = 0;

  constructor(list: EntryList, from: { readonly block: number; readonly step: 1 | -1; readonly hasEffects: boolean }) {
    this.#list = list;
    this.#next = from.block;
    this.#step = from.step;
    this.#hasEffects = from.hasEffects;
  }

  /** The next entry; undefined at the end. */
  async next(): Promise<SubbufEntry | undefined> {
    for (;;) {
      while (this.#off >= 0 && this.#off < this.#rows.length) {
        const off = this.#off;
        this.#off += this.#step * ROW_BYTES;
        if (!this.#hasEffects || this.#rows.readUInt32LE(off + EFFECTS_AT) > 0) return rowAt(this.#rows, off);
      }
      const rows = await this.#list.block(this.#next);
      if (rows === undefined) return undefined;
      this.#next += this.#step;
      this.#rows = rows;
      this.#off = this.#step > 0 ? 0 : rows.length - ROW_BYTES;
    }
  }
}
