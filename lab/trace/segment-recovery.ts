// SPDX-License-Identifier: MIT
/**
 * Where a writer of segments goes on after it was stopped anywhere. A sealed segment is never written again. The last
 * one, if it has no seal, is checked sub-buffer by sub-buffer and cut back to those that are whole: what is behind
 * them was being written, and nobody was told that it is there. The same holds for the last but one without a seal.
 */
import { createHash } from 'node:crypto';
import { type FileHandle, open, readdir, rename, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { ioError, LabError } from '../util/errors.js';
import { FrameAssembler } from './frames.js';
import {
  parseSegmentFooter,
  parseSegmentHeader,
  SEGMENT_FOOTER_BYTES,
  SEGMENT_HEADER_BYTES,
  segmentName,
} from './segment-format.js';
import { listSegments } from './segment-reader.js';
import type { SegmentTail } from './segment-writer.js';
import { checkHeader, SUBBUF_HEADER_BYTES, type SubbufHeader } from './subbuf.js';

export interface Recovered {
  readonly tail: SegmentTail;
  /** Bytes that were cut off. */
  readonly tornBytes: number;
}

const WINDOW_BYTES = 1024 * 1024;
/** Of a file that was a segment, and is none any more. */
const ASIDE_SUFFIX = '.aside';

/**
 * Reads what is in the folder of a stopped writer.
 *
 * @param onSubbuf told each sub-buffer's header, in file order; those of sealed segments without a look at their bodies
 * @throws LabError LAB_SEGMENT_FOREIGN if the last file is not one that a writer leaves behind
 */
export async function recoverSegments(folder: string, onSubbuf: (header: SubbufHeader) => void): Promise<Recovered> {
  const numbers = await listSegments(folder);
  /** By CPU: the number that may come next. */
  const next = new Map<number, bigint>();
  const onNext = (header: SubbufHeader): boolean => {
    if (header.number < (next.get(header.cpu) ?? 0n)) return false;
    next.set(header.cpu, header.number + 1n);
    onSubbuf(header);
    return true;
  };
  for (const [i, number] of numbers.entries()) {
    const path = join(folder, segmentName(number));
    let file: FileHandle | undefined;
    try {
      file = await open(path, 'r+');
      const { size } = await file.stat();
      const bodyEnd = await sealedEnd(file, size);
      if (bodyEnd !== undefined) {
        await walkHeaders(file, bodyEnd, onNext);
        // A seal may be in the kernel's memory only, where the writer was killed or failed behind it.
        if (i >= numbers.length - 2) await file.datasync();
        continue;
      }
      const [behindIt, ...more] = numbers.slice(i + 1);
      if (more.length > 0) continue;
      const behind = behindIt === undefined ? 0 : await setAside(folder, segmentName(behindIt));
      // A sealed one behind it was not begun before its seal was on the disk: it has lost that since.
      if (behind === undefined) continue;
      const recovered = await recoverOpen(file, path, number, size, onNext);
      return { ...recovered, tornBytes: recovered.tornBytes + behind };
    } catch (error) {
      throw ioError(`recovering segment ${path}`, error);
    } finally {
      await file?.close().catch(() => undefined);
    }
  }
  return { tail: { segments: (numbers.at(-1) ?? -1) + 1 }, tornBytes: 0 };
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
    if ((await sealedEnd(file, size)) !== undefined) return undefined;
    if (size <= SEGMENT_HEADER_BYTES) await unlink(path);
    else {
      // What was set aside before is evidence too.
      const there = new Set(await readdir(folder));
      let aside = `${name}${ASIDE_SUFFIX}`;
      for (let more = 1; there.has(aside); more++) aside = `${name}${ASIDE_SUFFIX}.${more}`;
      await rename(path, join(folder, aside));
    }
    return size;
  } finally {
    await file.close();
  }
}

async function sealedEnd(file: FileHandle, size: number): Promise<number | undefined> {
  if (size < SEGMENT_HEADER_BYTES + SEGMENT_FOOTER_BYTES) return undefined;
  const footer = Buffer.alloc(SEGMENT_FOOTER_BYTES);
  await file.read(footer, 0, footer.length, size - footer.length);
  return parseSegmentFooter(footer) === undefined ? undefined : size - SEGMENT_FOOTER_BYTES;
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

async function recoverOpen(
  file: FileHandle,
  path: string,
  number: number,
  size: number,
  onSubbuf: (header: SubbufHeader) => boolean,
): Promise<Recovered> {
  const head = Buffer.alloc(SEGMENT_HEADER_BYTES);
  const { bytesRead } = await file.read(head, 0, head.length, 0);
  const header = parseSegmentHeader(head.subarray(0, bytesRead));
  if (bytesRead < head.length || head.every((byte) => byte === 0)) {
    // It was just being begun: without a header nothing in it was ever synced.
    await unlink(path);
    return { tail: { segments: number }, tornBytes: size };
  }
  if (typeof header === 'string' || header.number !== number)
    throw new LabError(
      'LAB_SEGMENT_FOREIGN',
      `${path}: ${typeof header === 'string' ? header : `its header says it is segment ${header.number}`}`,
      { next: 'look where it comes from, and move it away' },
    );
  const frames = new FrameAssembler();
  const hash = createHash('sha256').update(head);
  let bodyBytes = 0;
  let subbufs = 0;
  let isGood = true;
  for (let at = SEGMENT_HEADER_BYTES; at < size && isGood; ) {
    // Fresh memory each time: frames are views of it.
    const window = Buffer.allocUnsafe(Math.min(WINDOW_BYTES, size - at));
    const read = await file.read(window, 0, window.length, at);
    if (read.bytesRead === 0) break;
    at += read.bytesRead;
    for (const event of frames.push(window.subarray(0, read.bytesRead))) {
      // One that is there already was left behind the end, and written over in part.
      isGood = event.type === 'subbuf' && onSubbuf(event.header);
      if (!isGood || event.type === 'bad') break;
      hash.update(event.bytes);
      bodyBytes += event.bytes.length;
      subbufs++;
    }
  }
  const end = SEGMENT_HEADER_BYTES + bodyBytes;
  if (end < size) await file.truncate(end);
  return { tail: { segments: number + 1, open: { bodyBytes, subbufs, hash } }, tornBytes: size - end };
}
