// SPDX-License-Identifier: MIT
/** Changes to a recorded run that its own account cannot show. */
import { rm } from 'node:fs/promises';
import { AT, FLAG, KIND } from '../../lab/abi/layout.js';
import { segmentsFolder } from '../../lab/trace/run-index.js';
import { readSegments, type StoredSubbuf } from '../../lab/trace/segment-reader.js';
import type { SubbufHeader } from '../../lab/trace/subbuf.js';
import { walkRecords } from '../../lab/trace/walk.js';
import { writeSegments } from './run-builder.js';
import { putStruct, reseal } from './trace-builder.js';

/** Takes one 64-bit ENTRY record out of the middle of a run, and its count out of all headers behind it. */
export async function dropEntry(runDir: string): Promise<void> {
  const folder = segmentsFolder(runDir);
  const stored: StoredSubbuf[] = [];
  for await (const item of readSegments(folder)) if (item.type === 'subbuf') stored.push(item);
  let cpu: number | undefined;
  const subbufs = stored.map((item, index) => {
    let bytes = Buffer.from(item.bytes);
    if (cpu === undefined && index >= stored.length / 2) {
      const less = withoutEntry(bytes, item.header);
      if (less !== undefined) {
        bytes = less;
        cpu = item.header.cpu;
      }
    }
    if (item.header.cpu !== cpu) return bytes;
    putStruct(bytes, 0, 'lemona_subbuf', { issued: item.header.issued - 1n });
    return reseal(bytes);
  });
  if (cpu === undefined) throw new Error('there is no entry to take out');
  await rm(folder, { recursive: true });
  await writeSegments(runDir, subbufs);
}

function withoutEntry(bytes: Buffer, header: SubbufHeader): Buffer<ArrayBuffer> | undefined {
  const entries: { readonly from: number; readonly to: number }[] = [];
  walkRecords(bytes, header, (buf, off, size, kind) => {
    const abi = buf.readUInt16LE(off + AT.lemona_rec.flags) & FLAG.F_ABI_MASK;
    if (kind === KIND.ENTRY && abi === FLAG.F_ABI_64) entries.push({ from: off, to: off + size });
  });
  const entry = entries.at(-1);
  if (entry === undefined) return undefined;
  const less = Buffer.concat([bytes.subarray(0, entry.from), bytes.subarray(entry.to)]);
  putStruct(less, 0, 'lemona_subbuf', { length: less.length, records: header.records - 1 });
  return less;
}
