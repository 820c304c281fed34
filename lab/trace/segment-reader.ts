// SPDX-License-Identifier: MIT
/**
 * Reading of a run's segment folder. Damage is data here, not an exception: the reader hands out every sub-buffer
 * that is good, and says where and why it had to stop. A bad frame ends its segment (there is no
 * resynchronization); the next segment is read all the same, and the missing sequence numbers show up as a gap.
 */
import { type FileHandle, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { ioError, LabError, systemCodeOf } from '../util/errors.js';
import { openRegular } from '../util/regular-file.js';
import { FrameAssembler } from './frames.js';
import {
  isOlderSegment,
  parseSegmentFooter,
  parseSegmentHeader,
  SEGMENT_FOOTER_BYTES,
  SEGMENT_HEADER_BYTES,
  type SegmentHeader,
  segmentName,
  segmentNumber,
} from './segment-format.js';
import { Sha256x16 } from './sha256x16.js';
import type { SubbufHeader } from './subbuf.js';

export type SegmentProblemKind =
  /** The last segment ends inside a sub-buffer: the writer was stopped. */
  | 'torn'
  /** The last segment has no seal: the writer was stopped between sub-buffers. */
  | 'unsealed'
  | 'corrupt'
  | 'foreign'
  | 'abi'
  | 'missing'
  /** The checksum is good, but the records inside break the format's rules: the writer is wrong. */
  | 'malformed';

export interface SegmentProblem {
  readonly type: 'problem';
  readonly kind: SegmentProblemKind;
  readonly segment: number;
  /** Offset in the segment's file. */
  readonly offset: number;
  readonly detail: string;
}

export interface StoredSubbuf {
  readonly type: 'subbuf';
  readonly segment: number;
  readonly offset: number;
  readonly header: SubbufHeader;
  readonly bytes: Buffer;
}

/** Bytes read at a time: a few sub-buffers, so that most of them need no copy. */
const WINDOW_BYTES = 2 * 1024 * 1024;

/**
 * Numbers of the segments in a folder, ascending.
 * @throws LabError LAB_RUN_UNKNOWN if the folder isn't there
 */
export async function listSegments(folder: string): Promise<number[]> {
  let names: string[];
  try {
    names = await readdir(folder);
  } catch (error) {
    if (systemCodeOf(error) === 'ENOENT' || systemCodeOf(error) === 'ENOTDIR')
      throw new LabError('LAB_RUN_UNKNOWN', `reading segments: ${folder} is not there`, {
        cause: error,
        next: 'name a run that was recorded',
      });
    throw ioError(`reading the segment folder ${folder}`, error);
  }
  return names.flatMap((name) => segmentNumber(name) ?? []).sort((a, b) => a - b);
}

/**
 * Every good sub-buffer of a run in file order, and every problem where it stands.
 * Buffers are views of a window that is not reused: holding one keeps up to 2 MiB alive.
 */
export async function* readSegments(folder: string): AsyncGenerator<StoredSubbuf | SegmentProblem, void, void> {
  const numbers = await listSegments(folder);
  let expected = 0;
  for (const [i, number] of numbers.entries()) {
    if (expected < number) {
      const last = number - 1 === expected ? '' : ` to ${segmentName(number - 1)}`;
      yield problem('missing', expected, 0, `${segmentName(expected)}${last}: not there, later ones are`);
    }
    expected = number + 1;
    yield* readSegment(folder, number, i === numbers.length - 1);
  }
}

function problem(kind: SegmentProblemKind, segment: number, offset: number, detail: string): SegmentProblem {
  return { type: 'problem', kind, segment, offset, detail };
}

/** Whoever opens it closes it; there is no file if something else has its name. */
export async function openSegment(
  folder: string,
  number: number,
): Promise<{ readonly path: string; readonly file: FileHandle | undefined }> {
  const path = join(folder, segmentName(number));
  try {
    return { path, file: await openRegular(path) };
  } catch (error) {
    throw ioError(`opening segment ${path}`, error);
  }
}

/** What a segment begins with, and whether it ends with a seal; undefined: it has no header. */
export async function peekSegment(
  folder: string,
  number: number,
): Promise<{ readonly header: SegmentHeader; readonly isSealed: boolean } | undefined> {
  const { path, file } = await openSegment(folder, number);
  if (file === undefined) return undefined;
  try {
    const header = parseSegmentHeader(await readAt(file, 0, SEGMENT_HEADER_BYTES, path));
    if (typeof header === 'string') return undefined;
    const { size } = await file.stat();
    const footerAt = size - SEGMENT_FOOTER_BYTES;
    const isSealed =
      footerAt >= SEGMENT_HEADER_BYTES &&
      parseSegmentFooter(await readAt(file, footerAt, SEGMENT_FOOTER_BYTES, path)) !== undefined;
    return { header, isSealed };
  } finally {
    await file.close();
  }
}

/** Whether a segment was written in an earlier format, which nothing here reads. */
export async function isOlderVersion(folder: string, number: number): Promise<boolean> {
  const { path, file } = await openSegment(folder, number);
  if (file === undefined) return false;
  try {
    return isOlderSegment(await readAt(file, 0, SEGMENT_HEADER_BYTES, path));
  } finally {
    await file.close();
  }
}

/**
 * One segment as `readSegments` reads it.
 * @param isLast it may lack its seal
 */
export async function* readSegment(
  folder: string,
  number: number,
  isLast: boolean,
): AsyncGenerator<StoredSubbuf | SegmentProblem, void, void> {
  const { path, file } = await openSegment(folder, number);
  if (file === undefined) {
    yield problem('foreign', number, 0, 'is no regular file');
    return;
  }
  try {
    const { size } = await file.stat();
    const head = await readAt(file, 0, SEGMENT_HEADER_BYTES, path);
    const header = parseSegmentHeader(head);
    if (typeof header === 'string') {
      const isTorn = isLast && size < SEGMENT_HEADER_BYTES;
      yield problem(isTorn ? 'torn' : 'foreign', number, 0, header);
      return;
    }
    if (header.number !== number) {
      yield problem('foreign', number, 12, `its header says it is segment ${header.number}`);
      return;
    }
    const footer =
      size >= SEGMENT_HEADER_BYTES + SEGMENT_FOOTER_BYTES
        ? parseSegmentFooter(await readAt(file, size - SEGMENT_FOOTER_BYTES, SEGMENT_FOOTER_BYTES, path))
        : undefined;
    const bodyEnd = footer ? size - SEGMENT_FOOTER_BYTES : size;
    const frames = new FrameAssembler();
    const hash = new Sha256x16().update(head);
    let subbufs = 0;
    for (let at = SEGMENT_HEADER_BYTES; at < bodyEnd && frames.bad === undefined; ) {
      const window = await readAt(file, at, Math.min(WINDOW_BYTES, bodyEnd - at), path);
      if (window.length === 0) break;
      hash.update(window);
      at += window.length;
      for (const event of frames.push(window)) {
        const offset = SEGMENT_HEADER_BYTES + event.position;
        if (event.type === 'bad') yield problem(event.problem.kind, number, offset, event.problem.detail);
        else {
          subbufs++;
          yield { type: 'subbuf', segment: number, offset, header: event.header, bytes: event.bytes };
        }
      }
    }
    const end = frames.end();
    const offset = SEGMENT_HEADER_BYTES + end.position;
    if (end.type === 'bad') {
      if (frames.bad === undefined) yield problem(end.problem.kind, number, offset, end.problem.detail);
    } else if (end.type === 'torn') {
      const kind = isLast && !footer ? 'torn' : 'corrupt';
      yield problem(kind, number, offset, `ends inside a sub-buffer: the last ${end.bytes} bytes are not used`);
    } else if (!footer) {
      yield problem(isLast ? 'unsealed' : 'corrupt', number, offset, 'has no seal');
    } else {
      const detail = sealProblem(footer, BigInt(bodyEnd - SEGMENT_HEADER_BYTES), BigInt(subbufs), hash.digest());
      if (detail !== undefined) yield problem('corrupt', number, bodyEnd, detail);
    }
  } finally {
    await file.close();
  }
}

function sealProblem(
  footer: { readonly bodyBytes: bigint; readonly subbufs: bigint; readonly digest: Buffer },
  bodyBytes: bigint,
  subbufs: bigint,
  digest: Buffer,
): string | undefined {
  if (footer.bodyBytes !== bodyBytes || footer.subbufs !== subbufs)
    return `its seal says ${footer.subbufs} sub-buffers in ${footer.bodyBytes} bytes; it holds ${subbufs} in ${bodyBytes}`;
  if (!footer.digest.equals(digest))
    return `its seal says digest ${footer.digest.toString('hex')}; the bytes give ${digest.toString('hex')}`;
  return undefined;
}

/** Up to `length` bytes at `position`: fewer only at the end of the file. Always fresh memory. */
async function readAt(file: FileHandle, position: number, length: number, path: string): Promise<Buffer> {
  const buf = Buffer.allocUnsafeSlow(length);
  let filled = 0;
  try {
    while (filled < length) {
      const { bytesRead } = await file.read(buf, filled, length - filled, position + filled);
      if (bytesRead === 0) break;
      filled += bytesRead;
    }
  } catch (error) {
    throw ioError(`reading segment ${path}`, error);
  }
  return buf.subarray(0, filled);
}

/** A place in a segment's file. */
export interface SegmentPlace {
  readonly segment: number;
  readonly offset: number;
  readonly length: number;
}

/**
 * Open segment files for reading sub-buffers at random, as the merges do. Small ones are read with what stands around
 * them: the next ones wanted are near. Close it when done.
 */
export class SegmentAccess {
  readonly #folder: string;
  /** A merge moves forward through the segments, so a few handles suffice. */
  readonly #files = new Map<number, FileHandle>();
  /** The last ones read; streams are not all at the same place. */
  readonly #windows: { readonly segment: number; readonly offset: number; readonly bytes: Buffer }[] = [];
  static readonly #MAX_OPEN = 16;
  static readonly #MAX_WINDOWS = 16;
  /** A sub-buffer that is held keeps its window alive: one for each CPU. */
  static readonly #WINDOW_BYTES = 64 * 1024;
  /** Longer ones are read alone. */
  static readonly #SMALL_BYTES = 16 * 1024;

  constructor(folder: string) {
    this.#folder = folder;
  }

  /** The bytes of a sub-buffer, in memory that is not written to again. */
  async read(place: SegmentPlace): Promise<Buffer> {
    const { segment, offset, length } = place;
    const window = this.#windows.find(
      (one) => one.segment === segment && one.offset <= offset && offset + length <= one.offset + one.bytes.length,
    );
    if (window !== undefined) return window.bytes.subarray(offset - window.offset, offset - window.offset + length);
    const path = join(this.#folder, segmentName(segment));
    const isSmall = length <= SegmentAccess.#SMALL_BYTES;
    const file = await this.#open(segment);
    const bytes = await readAt(file, offset, isSmall ? SegmentAccess.#WINDOW_BYTES : length, path);
    if (bytes.length < length)
      throw new LabError(
        'LAB_SEGMENT_CORRUPT',
        `${path}: ${bytes.length} bytes at offset ${offset}, ${length} were there a moment ago`,
        { next: 'do not change a run while it is being read' },
      );
    if (!isSmall) return bytes;
    if (this.#windows.length === SegmentAccess.#MAX_WINDOWS) this.#windows.shift();
    this.#windows.push({ segment, offset, bytes });
    return bytes.subarray(0, length);
  }

  async #open(segment: number): Promise<FileHandle> {
    const known = this.#files.get(segment);
    if (known !== undefined) return known;
    if (this.#files.size >= SegmentAccess.#MAX_OPEN) {
      const [oldest] = this.#files;
      if (oldest) {
        this.#files.delete(oldest[0]);
        await oldest[1].close();
      }
    }
    const { path, file } = await openSegment(this.#folder, segment);
    if (file === undefined) throw new LabError('LAB_SEGMENT_CORRUPT', `${path} is no regular file any more`);
    this.#files.set(segment, file);
    return file;
  }

  async close(): Promise<void> {
    for (const file of this.#files.values()) await file.close();
    this.#files.clear();
    this.#windows.length = 0;
  }
}
