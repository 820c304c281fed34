// SPDX-License-Identifier: MIT
/**
 * Writing of segment files: sub-buffers are appended as they came, a segment is sealed with its SHA-256 when the
 * next one begins and at the end. A failed append (a full disk) cuts the file back to the last whole sub-buffer,
 * so that finished data stays readable. After any failure a writer is of no further use; `segment-recovery.ts` tells
 * where the next one goes on.
 */
import { type FileHandle, mkdir, open, unlink } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { ioError, LabError } from '../util/errors.js';
import { LocalHash, type RunningHash } from './running-hash.js';
import {
  encodeSegmentFooter,
  encodeSegmentHeader,
  SEGMENT_FOOTER_BYTES,
  SEGMENT_HEADER_BYTES,
  SEGMENT_LIMIT_BYTES,
  segmentName,
} from './segment-format.js';

export interface SegmentWriterOptions {
  /** Folder of the segments; made if it is not there. */
  readonly folder: string;
  /** Wall clock, ns since 1970. */
  readonly now: () => bigint;
  readonly limitBytes?: number;
  /** The caller syncs, and counts on what was synced: what a failed sync leaves in doubt is cut off. */
  readonly isSynced?: true;
  /** Who hashes a segment that is begun; this thread if it is left out. */
  readonly newHash?: () => RunningHash;
  /** Awaited when a segment is sealed and on the disk, before the next one is begun. */
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
    readonly hash: RunningHash;
  };
}

/** A whole segment file, seal included. */
export interface SealedSegment {
  /** Name in the segment folder. */
  readonly name: string;
  readonly bytes: number;
  /** Of all its bytes, in hex. */
  readonly sha256: string;
}

export interface SegmentTotals {
  readonly segments: number;
  /** Bytes of sub-buffers. */
  readonly bytes: number;
  readonly subbufs: number;
}

interface OpenSegment {
  readonly file: FileHandle;
  readonly path: string;
  readonly hash: RunningHash;
  bodyBytes: number;
  subbufs: number;
  /** Of the body, how much is surely on the disk. */
  syncedBytes: number;
}

/** One writer, one caller: `append` and `close` must not overlap. */
export class SegmentWriter {
  readonly #options: SegmentWriterOptions;
  readonly #limitBytes: number;
  #current: OpenSegment | undefined;
  #state: 'open' | 'failed' | 'closed' = 'open';
  #segments = 0;
  #bytes = 0;
  #subbufs = 0;
  /** Over when the sync or seal under way is. */
  #turn: Promise<void> = Promise.resolve();

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
        writer.#current = { file, path, ...tail.open, syncedBytes: 0 };
        // What was read may be in the kernel's memory only.
        await writer.sync();
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
    this.#demandOpen('append');
    if (this.#current !== undefined && this.#current.subbufs > 0) {
      const size = SEGMENT_HEADER_BYTES + this.#current.bodyBytes + subbuf.length;
      if (size > this.#limitBytes) await this.#seal();
    }
    this.#current ??= await this.#begin();
    const segment = this.#current;
    const position = SEGMENT_HEADER_BYTES + segment.bodyBytes;
    // Beside the write: another thread may do it.
    const hashed = segment.hash.update(subbuf);
    hashed.catch(() => {});
    try {
      await writeFully(segment.file, subbuf, position);
      await hashed;
    } catch (error) {
      this.#state = 'failed';
      await hashed.catch(() => {});
      // Best effort: a reader copes with the torn tail as well.
      await segment.file.truncate(position).catch(() => undefined);
      throw ioError(`appending ${subbuf.length} bytes to ${segment.path}`, error);
    }
    segment.bodyBytes += subbuf.length;
    segment.subbufs++;
    this.#bytes += subbuf.length;
    this.#subbufs++;
  }

  /**
   * Resolves when everything that was appended before the call is on the disk; appends may go on meanwhile. If it
   * fails, the file is cut back to what surely is there: the kernel may have forgotten the rest, and say so only once.
   */
  async sync(): Promise<void> {
    this.#demandOpen('sync');
    await this.#inTurn(async () => {
      const segment = this.#current;
      // A sealed segment was synced when it was sealed.
      if (segment === undefined || segment.syncedBytes === segment.bodyBytes) return;
      const { bodyBytes } = segment;
      try {
        await segment.file.datasync();
        segment.syncedBytes = Math.max(segment.syncedBytes, bodyBytes);
      } catch (error) {
        this.#state = 'failed';
        await segment.file.truncate(SEGMENT_HEADER_BYTES + segment.syncedBytes).catch(() => undefined);
        throw ioError(`syncing ${segment.path}`, error);
      }
    });
  }

  /** Of syncs and seals, one at a time: the kernel tells only one of them of a failure, and the other would go on. */
  #inTurn(work: () => Promise<void>): Promise<void> {
    const turn = this.#turn.then(() => {
      if (this.#state === 'failed')
        throw new LabError('LAB_ENV_IO', `${this.#options.folder}: what was written last is in doubt`);
      return work();
    });
    this.#turn = turn.catch(() => {});
    return turn;
  }

  /** Closes and leaves the last segment unsealed: `resume` goes on with it. */
  async abandon(): Promise<void> {
    await leave(this.#current);
    this.#current = undefined;
    this.#state = 'closed';
  }

  /** Seals and closes. After a failed append it only closes: the last segment stays unsealed. */
  async close(): Promise<SegmentTotals> {
    if (this.#state === 'open') await this.#seal();
    else await leave(this.#current);
    this.#current = undefined;
    this.#state = 'closed';
    return this.totals;
  }

  #demandOpen(what: string): void {
    if (this.#state !== 'open')
      throw new LabError(
        'LAB_BUG',
        `segment writer of ${this.#options.folder}: ${what} in state ${this.#state}, wanted open`,
      );
  }

  async #begin(): Promise<OpenSegment> {
    const number = this.#segments;
    const path = join(this.#options.folder, segmentName(number));
    let file: FileHandle | undefined;
    try {
      // wx: never over a segment of another run.
      file = await open(path, 'wx');
      const header = encodeSegmentHeader({ number, createdRealNs: this.#options.now() });
      await writeFully(file, header, 0);
      // Its name must be on the disk before anything in it can be.
      await syncFolder(this.#options.folder);
      this.#segments++;
      const hash = this.#options.newHash?.() ?? new LocalHash();
      await hash.update(header);
      return { file, path, hash, bodyBytes: 0, subbufs: 0, syncedBytes: 0 };
    } catch (error) {
      this.#state = 'failed';
      await file?.close().catch(() => undefined);
      // Ours, and empty. A segment that was there before (EEXIST) was not opened.
      if (file !== undefined) await unlink(path).catch(() => undefined);
      throw ioError(`beginning segment ${path}`, error);
    }
  }

  async #seal(): Promise<void> {
    const segment = this.#current;
    if (segment === undefined) return;
    const end = SEGMENT_HEADER_BYTES + segment.bodyBytes;
    let sha256 = '';
    await this.#inTurn(async () => {
      let kept = end;
      try {
        const footer = encodeSegmentFooter({
          bodyBytes: BigInt(segment.bodyBytes),
          subbufs: BigInt(segment.subbufs),
          sha256: await segment.hash.digest(),
        });
        await segment.hash.update(footer);
        sha256 = (await segment.hash.digest()).toString('hex');
        await writeFully(segment.file, footer, end);
        if (this.#options.isSynced === true) kept = SEGMENT_HEADER_BYTES + segment.syncedBytes;
        // The last that can fail: whoever is acknowledged by it keeps what it is told.
        await segment.file.datasync();
        segment.syncedBytes = segment.bodyBytes;
      } catch (error) {
        this.#state = 'failed';
        await segment.file.truncate(kept).catch(() => undefined);
        throw ioError(`sealing ${segment.path}`, error);
      } finally {
        await leave(segment);
        this.#current = undefined;
      }
    });
    // What fails now takes nothing of it back.
    const sealed = { name: basename(segment.path), bytes: end + SEGMENT_FOOTER_BYTES };
    await this.#options.onSealed?.({ ...sealed, sha256 }).catch((error: unknown) => {
      this.#state = 'failed';
      throw ioError(`signing ${segment.path}`, error);
    });
  }
}

/** Closes its file, and ends its hash. */
async function leave(segment: OpenSegment | undefined): Promise<void> {
  await segment?.file.close().catch(() => undefined);
  segment?.hash.leave();
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
