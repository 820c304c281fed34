// SPDX-License-Identifier: MIT
/**
 * Where a writer of segments goes on after it was stopped anywhere. A segment with a good seal is never written again. The
 * last one, if it has none, is checked sub-buffer by sub-buffer and cut back to those that are whole: what is behind
 * them was being written, and nobody was told that it is there. The same holds for the last but one without a seal.
 *
 * After a loss of power a seal may be on the disk, and what it stands behind not. So the seals of the last two are held
 * against what they seal. A wrong one is as none, and what is cut off with it is kept under another name; but if it was
 * signed, or has a sealed segment behind it, all of it was on the disk once: it is damaged since, and stays as it is.
 */
import { copyFile, type FileHandle, open, readdir, rename, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { ioError, LabError } from '../util/errors.js';
import { FrameAssembler } from './frames.js';
import {
  isOlderSegment,
  parseSegmentFooter,
  parseSegmentHeader,
  SEGMENT_FOOTER_BYTES,
  SEGMENT_HEADER_BYTES,
  type SegmentFooter,
  type SegmentHeader,
  segmentName,
} from './segment-format.js';
import { listSegments } from './segment-reader.js';
import { hashOf, type SegmentTail } from './segment-writer.js';
import { Sha256x16 } from './sha256x16.js';
import { checkHeader, SUBBUF_HEADER_BYTES, type SubbufHeader } from './subbuf.js';

export interface Recovered {
  readonly tail: SegmentTail;
  /** Bytes that were cut off. */
  readonly tornBytes: number;
  /** Sealed segments that are not what was sealed. */
  readonly damaged: readonly DamagedSegment[];
}

export interface DamagedSegment {
  /** Name in the folder. */
  readonly name: string;
  readonly detail: string;
}

const WINDOW_BYTES = 1024 * 1024;
/** Of a file that was a segment, and is none any more. */
const ASIDE_SUFFIX = '.aside';

/**
 * Reads what is in the folder of a stopped writer.
 *
 * @param onSubbuf told each sub-buffer's header, in file order; those of sealed segments without a look at their bodies,
 *   but for one that is damaged: of that, those before the damage
 * @param signed names of segments that were signed when they were sealed
 * @throws LabError LAB_SEGMENT_FOREIGN if the last file is not one that a writer leaves behind, or one is of an earlier
 *   format
 */
export async function recoverSegments(
  folder: string,
  onSubbuf: (header: SubbufHeader) => void,
  signed: ReadonlySet<string> = new Set(),
): Promise<Recovered> {
  const numbers = await listSegments(folder);
  /** By CPU: the number that may come next. */
  const next = new Map<number, bigint>();
  const onNext = (header: SubbufHeader): boolean => {
    if (header.number < (next.get(header.cpu) ?? 0n)) return false;
    next.set(header.cpu, header.number + 1n);
    onSubbuf(header);
    return true;
  };
  const damaged: DamagedSegment[] = [];
  for (const [i, number] of numbers.entries()) {
    const name = segmentName(number);
    const path = join(folder, name);
    const [behindIt, ...more] = numbers.slice(i + 1);
    let file: FileHandle | undefined;
    try {
      file = await open(path, 'r+');
      const { size } = await file.stat();
      const head = await headOf(file);
      if (isOlderSegment(head))
        throw foreign(path, parseSegmentHeader(head), 'go on with it in the version that began it');
      const seal = await sealOf(file, size);
      const isLate = more.length === 0;
      const wrong = seal === undefined || !isLate ? undefined : await sealProblem(file, seal);
      if (seal !== undefined && wrong === undefined) {
        await walkHeaders(file, seal.end, onNext);
        // A seal may be in the kernel's memory only, where the writer was killed or failed behind it.
        if (isLate) await file.datasync();
        continue;
      }
      if (!isLate) continue;
      const isSigned = signed.has(name);
      const behind = isSigned ? undefined : behindIt === undefined ? 0 : await setAside(folder, segmentName(behindIt));
      // A sealed one behind it was not begun before its seal was on the disk: it has lost that since.
      if (behind === undefined) {
        damaged.push({ name, detail: wrong ?? 'it was sealed once, and its seal is gone' });
        await walkWhole(file, seal?.end ?? size, onNext);
        continue;
      }
      // Nobody was told of more than is whole; but if the disk has failed instead, there is something to look at.
      if (wrong !== undefined) await copyFile(path, join(folder, await asideName(folder, name)));
      const recovered = await recoverOpen(file, path, head, number, size, onNext);
      return { ...recovered, tornBytes: recovered.tornBytes + behind, damaged };
    } catch (error) {
      throw ioError(`recovering segment ${path}`, error);
    } finally {
      await file?.close().catch(() => undefined);
    }
  }
  return { tail: { segments: (numbers.at(-1) ?? -1) + 1 }, tornBytes: 0, damaged };
}

/**
 * The machine lost power while a segment was being sealed and the next one had begun: of that one nobody was told that
 * it is there. It is kept under another name all the same, unless it is empty.
 *
 * @returns its bytes; undefined if it is sealed, and stays
 */
async function setAside(folder: string, name: string): Promise<number | undefined> {
  const path = join(folder, name);
  const file = await open(path, 'r');
  try {
    const { size } = await file.stat();
    if ((await sealOf(file, size)) !== undefined) return undefined;
    if (size <= SEGMENT_HEADER_BYTES) await unlink(path);
    else await rename(path, join(folder, await asideName(folder, name)));
    return size;
  } finally {
    await file.close();
  }
}

/** A name that is free: what was set aside before is evidence too. */
async function asideName(folder: string, name: string): Promise<string> {
  const there = new Set(await readdir(folder));
  let aside = `${name}${ASIDE_SUFFIX}`;
  for (let more = 1; there.has(aside); more++) aside = `${name}${ASIDE_SUFFIX}.${more}`;
  return aside;
}

/** A segment's header, as far as it is there. */
async function headOf(file: FileHandle): Promise<Buffer> {
  const head = Buffer.alloc(SEGMENT_HEADER_BYTES);
  const { bytesRead } = await file.read(head, 0, head.length, 0);
  return head.subarray(0, bytesRead);
}

function foreign(path: string, header: SegmentHeader | string, next: string): LabError {
  const what = typeof header === 'string' ? header : `its header says it is segment ${header.number}`;
  return new LabError('LAB_SEGMENT_FOREIGN', `${path}: ${what}`, { next });
}

/** A seal, and where the body before it ends. */
interface Seal {
  readonly footer: SegmentFooter;
  readonly end: number;
}

async function sealOf(file: FileHandle, size: number): Promise<Seal | undefined> {
  if (size < SEGMENT_HEADER_BYTES + SEGMENT_FOOTER_BYTES) return undefined;
  const bytes = Buffer.alloc(SEGMENT_FOOTER_BYTES);
  await file.read(bytes, 0, bytes.length, size - bytes.length);
  const footer = parseSegmentFooter(bytes);
  return footer === undefined ? undefined : { footer, end: size - SEGMENT_FOOTER_BYTES };
}

/** Why a seal is not that of what stands before it; undefined: it is. */
async function sealProblem(file: FileHandle, { footer, end }: Seal): Promise<string | undefined> {
  const digest = (await hashOf(file, end)).digest();
  if (digest.equals(footer.digest)) return undefined;
  return `its seal says digest ${footer.digest.toString('hex')}, its bytes give ${digest.toString('hex')}`;
}

/** Hops from header to header; stops where one is damaged, which a reader of the segment will report. */
async function walkHeaders(file: FileHandle, end: number, onSubbuf: (header: SubbufHeader) => boolean): Promise<void> {
  const window = Buffer.alloc(WINDOW_BYTES);
  let start = 0;
  let filled = 0;
  for (let at = SEGMENT_HEADER_BYTES; at + SUBBUF_HEADER_BYTES <= end; ) {
    if (at < start || at + SUBBUF_HEADER_BYTES > start + filled) {
      start = at;
      ({ bytesRead: filled } = await file.read(window, 0, window.length, start));
    }
    const check = checkHeader(window.subarray(0, filled), at - start);
    if (!check.ok) return;
    onSubbuf(check.header);
    at += check.header.length;
  }
}

/** Goes on while sub-buffers are whole; returns where they end. */
async function walkWhole(
  file: FileHandle,
  end: number,
  onSubbuf: (header: SubbufHeader, bytes: Buffer) => boolean,
): Promise<number> {
  const frames = new FrameAssembler();
  let wholeEnd = SEGMENT_HEADER_BYTES;
  for (let at = SEGMENT_HEADER_BYTES; at < end; ) {
    // Fresh memory each time: frames are views of it.
    const window = Buffer.allocUnsafe(Math.min(WINDOW_BYTES, end - at));
    const read = await file.read(window, 0, window.length, at);
    if (read.bytesRead === 0) break;
    at += read.bytesRead;
    for (const event of frames.push(window.subarray(0, read.bytesRead))) {
      if (event.type === 'bad' || !onSubbuf(event.header, event.bytes)) return wholeEnd;
      wholeEnd += event.bytes.length;
    }
  }
  return wholeEnd;
}

async function recoverOpen(
  file: FileHandle,
  path: string,
  head: Buffer,
  number: number,
  size: number,
  onSubbuf: (header: SubbufHeader) => boolean,
): Promise<Omit<Recovered, 'damaged'>> {
  const header = parseSegmentHeader(head);
  if (head.length < SEGMENT_HEADER_BYTES || head.every((byte) => byte === 0)) {
    // It was just being begun: without a header nothing in it was ever synced.
    await unlink(path);
    return { tail: { segments: number }, tornBytes: size };
  }
  if (typeof header === 'string' || header.number !== number)
    throw foreign(path, header, 'look where it comes from, and move it away');
  const hash = new Sha256x16().update(head);
  let subbufs = 0;
  const end = await walkWhole(file, size, (header, bytes) => {
    // One that is there already was left behind the end, and written over in part.
    if (!onSubbuf(header)) return false;
    hash.update(bytes);
    subbufs++;
    return true;
  });
  if (end < size) await file.truncate(end);
  const open = { bodyBytes: end - SEGMENT_HEADER_BYTES, subbufs, hash };
  return { tail: { segments: number + 1, open }, tornBytes: size - end };
}
