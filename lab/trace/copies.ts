// SPDX-License-Identifier: MIT
/**
 * Reading of one stream in one of several copies of a record: the sub-buffers of one CPU in file order, one at a time.
 * Other streams are hopped over by their headers, so that memory is one sub-buffer whatever the folder holds.
 */
import type { FileHandle } from 'node:fs/promises';
import { parseSegmentFooter, SEGMENT_FOOTER_BYTES, SEGMENT_HEADER_BYTES } from './segment-format.js';
import { listSegments, openSegment } from './segment-reader.js';
import { checkHeader, parseSubbuf, SUBBUF_HEADER_BYTES, type SubbufHeader } from './subbuf.js';

export interface CopiedSubbuf {
  readonly header: SubbufHeader;
  readonly bytes: Buffer;
}

/** Headers are read so many bytes at a time: what is small and idle lies close together. */
const WINDOW_BYTES = 64 * 1024;

/**
 * The good sub-buffers of one CPU of one boot. Damage is passed over here: `readSegments` has it reported.
 */
export async function* streamCopy(
  folder: string,
  stream: { readonly bootId: bigint; readonly cpu: number },
): AsyncGenerator<CopiedSubbuf, void, void> {
  for (const number of await listSegments(folder)) {
    const { file } = await openSegment(folder, number);
    if (file === undefined) continue;
    try {
      yield* segmentCopy(file, stream);
    } finally {
      await file.close();
    }
  }
}

async function* segmentCopy(
  file: FileHandle,
  stream: { readonly bootId: bigint; readonly cpu: number },
): AsyncGenerator<CopiedSubbuf, void, void> {
  const { size } = await file.stat();
  const window = Buffer.alloc(WINDOW_BYTES);
  let start = 0;
  let filled = 0;
  const end = await bodyEnd(file, size);
  for (let at = SEGMENT_HEADER_BYTES; at + SUBBUF_HEADER_BYTES <= end; ) {
    if (at < start || at + SUBBUF_HEADER_BYTES > start + filled) {
      start = at;
      ({ bytesRead: filled } = await file.read(window, 0, window.length, at));
    }
    const check = checkHeader(window.subarray(0, filled), at - start);
    if (!check.ok || at + check.header.length > end) return;
    const { cpu, bootId, length } = check.header;
    if (cpu === stream.cpu && bootId === stream.bootId) {
      const bytes = Buffer.alloc(length);
      const { bytesRead } = await file.read(bytes, 0, length, at);
      const whole = parseSubbuf(bytes.subarray(0, bytesRead));
      if (whole.ok) yield { header: whole.header, bytes };
    }
    at += length;
  }
}

async function bodyEnd(file: FileHandle, size: number): Promise<number> {
  if (size < SEGMENT_HEADER_BYTES + SEGMENT_FOOTER_BYTES) return size;
  const footer = Buffer.alloc(SEGMENT_FOOTER_BYTES);
  await file.read(footer, 0, footer.length, size - footer.length);
  return parseSegmentFooter(footer) === undefined ? size : size - SEGMENT_FOOTER_BYTES;
}
