// SPDX-License-Identifier: MIT
/**
 * Writing of segment files: sub-buffers are appended as they came, a segment is sealed with its digest when the
 * next one begins and at the end. A failed append (a full disk) cuts the file back to the last whole sub-buffer,
 * so that finished data stays readable. After any failure a writer is of no further use; `segment-recovery.ts` tells
 * where the next one goes on.
 */

import { type FileHandle, mkdir, open, unlink } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { ioError, LabError } from '../util/errors.js';
import {
  encodeSegmentFooter,
  encodeSegmentHeader,
  SEGMENT_FOOTER_BYTES,
  SEGMENT_HEADER_BYTES,
  SEGMENT_LIMIT_BYTES,
  segmentName,
} from './segment-format.js';
import { Sha256x16 } from './sha256x16.js';

const NONE = Buffer.alloc(0);
const PIECE_BYTES = 256 * 1024;

export interface SegmentWriterOptions {
  /** Folder of the segments; made if it is not there. */
  readonly folder: string;
  /** Wall clock, ns since 1970. */
  readonly now: () => bigint;
  readonly limitBytes?: number;
  /** The caller syncs, and counts on what was synced: what a failed sync leaves in doubt is cut off. */
  readonly isSynced?: true;
  /** Awaited when a segment is sealed and on the disk, before the next one is sealed. */
  readonly onSealed?: (segment: SealedSegment) => Promise<void>;
}

/** Where a writer goes on that was killed, or failed. */
export interface SegmentTail {
  /** Segments that are there; the next one gets this number. */
  readonly segments: number;
  /** The last of them, if it is not sealed. */
  readonly open?: {
    readonly bodyBytes: number;
    readonly subbufs: number;
    /** Of all bytes so far, to go on with. */
    readonly hash: Sha256x16;
  };
}

/** A whole segment file, seal included. */
export interface SealedSegment {
  /** Name in the segment folder. */
  readonly name: string;
  readonly bytes: number;
  /** Of all its bytes, in hex. */
  readonly sha256x16: string;
}

export interface SegmentTotals {
  readonly segments: number;
  /** Bytes of sub-buffers. */
  readonly bytes: number;
  readonly subbufs: number;
}

/** Where somebody else may append to the open segment. */
export interface SegmentRoom {
  readonly path: string;
  /** Of the next sub-buffer. */
  readonly position: number;
  /** How far further ones may reach. */
  readonly limit: number;
}

/** The body of a segment file ends there. */
export interface SegmentEnd {
  readonly path: string;
  readonly end: number;
}

/** The digest of a file up to its end, and of `extra` behind that, by whoever appended; undefined: it did not. */
export type OutsideDigest = (file: SegmentEnd, extra: Buffer) => Promise<Buffer | undefined>;

interface OpenSegment {
  readonly file: FileHandle;
  readonly path: string;
  /** Undefined when somebody else appends. */
  hash: Sha256x16 | undefined;
  bodyBytes: number;
  subbufs: number;
  /** Of the body, how much is surely on the disk. */
  syncedBytes: number;
  /** Its name may not be on the disk, and then nothing in it is. */
  isNew: boolean;
}

/** One writer, one caller: `append`, `room` and `close` must not overlap. */
export class SegmentWriter {
  /** Of whoever was given the room. */
  outsideDigest: OutsideDigest | undefined;
  readonly #options: SegmentWriterOptions;
  readonly #limitBytes: number;
  #current: OpenSegment | undefined;
  #state: 'open' | 'failed' | 'closed' = 'open';
  #segments = 0;
  #bytes = 0;
  #subbufs = 0;
  /** Those with something that is not on the disk yet: the current one, and the one before while it is being sealed. */
  readonly #unsynced = new Set<OpenSegment>();
  #failure: unknown;
  /** Over when the sync under way is. */
  #turn: Promise<void> = Promise.resolve();
  /** Over when the segment before the current one is sealed, on the disk, and told of. */
  #sealing: Promise<void> = Promise.resolve();

  private constructor(options: SegmentWriterOptions) {
    this.#options = options;
    this.#limitBytes = options.limitBytes ?? SEGMENT_LIMIT_BYTES;
  }

  /** Makes the folder; the first segment is begun with the first sub-buffer. */
  static async create(options: SegmentWriterOptions): Promise<SegmentWriter> {
    try {
      await mkdir(options.folder, { recursive: true });
    } catch (error) {
      throw ioError(`making the segment folder ${options.folder}`, error);
    }
    return new SegmentWriter(options);
  }

  /** Goes on behind what is there; the totals count from here. */
  static async resume(options: SegmentWriterOptions, tail: SegmentTail): Promise<SegmentWriter> {
    const writer = await SegmentWriter.create(options);
    writer.#segments = tail.segments;
    if (tail.open !== undefined) {
      const path = join(options.folder, segmentName(tail.segments - 1));
      try {
        const file = await open(path, 'r+');
        writer.#current = { file, path, ...tail.open, syncedBytes: tail.open.bodyBytes, isNew: false };
        writer.#unsynced.add(writer.#current);
        // What was read may be in the kernel's memory only. If this fails nothing is cut: it may have been acknowledged.
        await file.datasync();
      } catch (error) {
        await leave(writer.#current);
        throw ioError(`going on with segment ${path}`, error);
      }
    }
    return writer;
  }

  get totals(): SegmentTotals {
    return { segments: this.#segments, bytes: this.#bytes, subbufs: this.#subbufs };
  }

  /** Appends one whole sub-buffer, already checked. Resolves when the kernel has the bytes. */
  async append(subbuf: Buffer): Promise<void> {
    const segment = await this.#segmentFor(subbuf.length, 'append');
    const position = SEGMENT_HEADER_BYTES + segment.bodyBytes;
    try {
      await writeFully(segment.file, subbuf, position);
    } catch (error) {
      const failure = this.#fail(ioError(`appending ${subbuf.length} bytes to ${segment.path}`, error));
      // Best effort: a reader copes with the torn tail as well.
      await segment.file.truncate(position).catch(() => undefined);
      throw failure;
    }
    segment.hash?.update(subbuf);
    this.#count(segment, subbuf.length);
  }

  /** Lets somebody else append whole, checked sub-buffers, the first one of so many bytes; `appended` follows each. */
  async room(bytes: number): Promise<SegmentRoom> {
    const segment = await this.#segmentFor(bytes, 'room');
    segment.hash = undefined;
    return {
      path: segment.path,
      position: SEGMENT_HEADER_BYTES + segment.bodyBytes,
      limit: this.#limitBytes,
    };
  }

  /** Somebody else has appended a sub-buffer of so many bytes. */
  appended(bytes: number): void {
    this.#demandOpen('appended');
    if (this.#current === undefined) throw new LabError('LAB_BUG', 'appended to no segment');
    this.#count(this.#current, bytes);
  }

  /** The open segment, if a sub-buffer of so many bytes fits in; else the next one. */
  async #segmentFor(bytes: number, what: string): Promise<OpenSegment> {
    this.#demandOpen(what);
    if (this.#current !== undefined && this.#current.subbufs > 0) {
      const size = SEGMENT_HEADER_BYTES + this.#current.bodyBytes + bytes;
      if (size > this.#limitBytes) await this.#seal();
    }
    this.#current ??= await this.#begin();
    return this.#current;
  }

  #count(segment: OpenSegment, bytes: number): void {
    segment.bodyBytes += bytes;
    segment.subbufs++;
    this.#bytes += bytes;
    this.#subbufs++;
  }

  /**
   * Resolves when everything that was appended before the call is on the disk; appends may go on meanwhile. If it
   * fails, the file is cut back to what surely is there: the kernel may have forgotten the rest, and say so only once.
   */
  async sync(): Promise<void> {
    this.#demandOpen('sync');
    await this.#inTurn(async () => {
      for (const segment of this.#unsynced) {
        const { bodyBytes } = segment;
        if (segment.syncedBytes === bodyBytes) continue;
        await this.#datasync(segment);
        segment.syncedBytes = bodyBytes;
      }
    });
  }

  async #datasync(segment: OpenSegment): Promise<void> {
    try {
      if (segment.isNew) await syncFolder(this.#options.folder);
      segment.isNew = false;
    } catch (error) {
      throw this.#fail(ioError(`syncing ${this.#options.folder}`, error));
    }
    try {
      await segment.file.datasync();
    } catch (error) {
      const failure = this.#fail(ioError(`syncing ${segment.path}`, error));
      await this.#cutBack(segment);
      throw failure;
    }
  }

  /** To what surely is on the disk, where somebody counts on that; else a seal is all that goes. */
  async #cutBack({ file, bodyBytes, syncedBytes }: OpenSegment): Promise<void> {
    const kept = this.#options.isSynced === true ? syncedBytes : bodyBytes;
    await file.truncate(SEGMENT_HEADER_BYTES + kept).catch(() => undefined);
  }

  /** Of syncs, one at a time: the kernel tells only one of them of a failure, and the other would go on. */
  #inTurn(work: () => Promise<void>): Promise<void> {
    const turn = this.#turn.then(() => {
      if (this.#state === 'failed') throw this.#failure;
      return work();
    });
    this.#turn = turn.catch(() => {});
    return turn;
  }

  /** Closes and leaves the last segment unsealed: `resume` goes on with it. */
  async abandon(): Promise<void> {
    await this.#sealing.catch(() => {});
    await leave(this.#current);
    this.#current = undefined;
    this.#state = 'closed';
  }

  /** Seals and closes. After a failure it only closes: the last segment stays unsealed. */
  async close(): Promise<SegmentTotals> {
    if (this.#state !== 'open') {
      await this.abandon();
      return this.totals;
    }
    try {
      await this.#seal();
      await this.#sealing;
    } finally {
      await this.abandon();
    }
    return this.totals;
  }

  #demandOpen(what: string): void {
    if (this.#state === 'failed') throw this.#failure;
    if (this.#state === 'closed')
      throw new LabError('LAB_BUG', `segment writer of ${this.#options.folder}: ${what} after its close`);
  }

  /** The writer is of no further use. @returns what is to be thrown */
  #fail(error: unknown): unknown {
    this.#failure ??= error;
    this.#state = 'failed';
    return error;
  }

  async #begin(): Promise<OpenSegment> {
    const number = this.#segments;
    const path = join(this.#options.folder, segmentName(number));
    let file: FileHandle | undefined;
    try {
      // wx: never over a segment of another run.
      file = await open(path, 'wx+');
      const header = encodeSegmentHeader({ number, createdRealNs: this.#options.now() });
      await writeFully(file, header, 0);
      this.#segments++;
      const hash = new Sha256x16().update(header);
      const segment = { file, path, hash, bodyBytes: 0, subbufs: 0, syncedBytes: 0, isNew: true };
      this.#unsynced.add(segment);
      return segment;
    } catch (error) {
      const failure = this.#fail(ioError(`beginning segment ${path}`, error));
      await file?.close().catch(() => undefined);
      // Ours, and empty. A segment that was there before (EEXIST) was not opened.
      if (file !== undefined) await unlink(path).catch(() => undefined);
      throw failure;
    }
  }

  /** Who tells the digest of the segment as it is, and of some bytes behind it. */
  async #digestOf(segment: OpenSegment, end: number): Promise<(extra: Buffer) => Promise<Buffer>> {
    const outside = segment.hash === undefined ? this.outsideDigest : undefined;
    // What somebody else has begun to append, and not ended.
    if (segment.hash === undefined) await segment.file.truncate(end);
    const file = { path: segment.path, end };
    if ((await outside?.(file, NONE)) === undefined) segment.hash ??= await hashOf(segment.file, end);
    const { hash } = segment;
    return async (extra) => {
      const digest = hash === undefined ? await outside?.(file, extra) : hash.copy().update(extra).digest();
      if (digest === undefined) throw new Error('whoever appended to it is gone');
      return digest;
    };
  }

  /**
   * Ends the current segment with its seal, which is on the disk when `#sealing` is over: the next segment is begun
   * meanwhile. No sync covers anything of that one and leaves this one out.
   */
  async #seal(): Promise<void> {
    const segment = this.#current;
    if (segment === undefined) return;
    await this.#sealing;
    const end = SEGMENT_HEADER_BYTES + segment.bodyBytes;
    let sha256x16 = '';
    try {
      const digest = await this.#digestOf(segment, end);
      const footer = encodeSegmentFooter({
        bodyBytes: BigInt(segment.bodyBytes),
        subbufs: BigInt(segment.subbufs),
        digest: await digest(NONE),
      });
      sha256x16 = (await digest(footer)).toString('hex');
      await writeFully(segment.file, footer, end);
      // A sync that failed meanwhile has cut off what the seal stands behind.
      this.#demandOpen('seal');
    } catch (error) {
      const failure = this.#fail(ioError(`sealing ${segment.path}`, error));
      // A sync that is under way has to end first: it may tell of bytes that would be cut off.
      await this.#turn;
      await this.#cutBack(segment);
      await leave(segment);
      this.#current = undefined;
      throw failure;
    }
    this.#current = undefined;
    this.#sealing = this.#settle(segment, sha256x16);
    // Whoever comes next is told.
    this.#sealing.catch(() => {});
  }

  async #settle(segment: OpenSegment, sha256x16: string): Promise<void> {
    try {
      await this.#inTurn(async () => {
        // The last that can fail: whoever is acknowledged by it keeps what it is told.
        await this.#datasync(segment);
        // Whoever has the next turn finds its file closed.
        this.#unsynced.delete(segment);
      });
    } finally {
      await leave(segment);
    }
    // What fails now takes nothing of it back.
    const bytes = SEGMENT_HEADER_BYTES + segment.bodyBytes + SEGMENT_FOOTER_BYTES;
    await this.#options.onSealed?.({ name: basename(segment.path), bytes, sha256x16 }).catch((error: unknown) => {
      throw this.#fail(ioError(`signing ${segment.path}`, error));
    });
  }
}

async function leave(segment: OpenSegment | undefined): Promise<void> {
  await segment?.file.close().catch(() => undefined);
}

/** Of a file's first bytes, in memory that does not grow with it. */
export async function hashOf(file: FileHandle, bytes: number): Promise<Sha256x16> {
  const hash = new Sha256x16();
  const piece = Buffer.alloc(Math.min(bytes, PIECE_BYTES));
  for (let at = 0; at < bytes; ) {
    const { bytesRead } = await file.read(piece, 0, Math.min(piece.length, bytes - at), at);
    if (bytesRead === 0) throw new Error(`ends at byte ${at} of ${bytes}`);
    hash.update(piece.subarray(0, bytesRead));
    at += bytesRead;
  }
  return hash;
}

/** Puts the names in a folder on the disk. */
export async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

async function writeFully(file: FileHandle, bytes: Buffer, position: number): Promise<void> {
  let done = 0;
  while (done < bytes.length) {
    const { bytesWritten } = await file.write(bytes, done, bytes.length - done, position + done);
    done += bytesWritten;
  }
}
