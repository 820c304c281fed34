// SPDX-License-Identifier: MIT
/**
 * What a record costs in bytes, as the paper counts: an event's size with all that it carries, and without its parameters
 * (arguments, paths, buffers, written content), which only the format decides; both as they are and compressed by zstd.
 */
import { once } from 'node:events';
import { stat } from 'node:fs/promises';
import path from 'node:path';
import { AT, KIND, KIND_NAMES, SIZE } from '../abi/layout.js';
import { KINDS, OPCODES } from '../abi/records.js';
import { Child, describeExit } from '../proc/child.js';
import { segmentsFolder } from '../trace/run-index.js';
import { segmentName } from '../trace/segment-format.js';
import { listSegments, readSegments } from '../trace/segment-reader.js';
import { statsOf } from '../trace/stats.js';
import { walkRecords } from '../trace/walk.js';
import { LabError } from '../util/errors.js';
import type { KindFigures, TraceFigures } from './report-data.js';

const FIXED_OF_KIND = new Map(KINDS.map(({ value, struct }) => [value as number, SIZE[struct]]));
const FIXED_OF_OP = new Map(OPCODES.map(({ value, struct }) => [value as number, SIZE[struct]]));

/** Bytes of a record that are there whatever its parameters are. */
function fixedSize(buf: Buffer, off: number, size: number, kind: number): number {
  const fixed =
    kind === KIND.EFFECT ? FIXED_OF_OP.get(buf.readUInt16LE(off + AT.lemona_rec.code)) : FIXED_OF_KIND.get(kind);
  return Math.min(size, fixed ?? SIZE.lemona_rec);
}

/** How many bytes zstd, at its default level, makes of what `feed` writes. */
async function compressed(feed: (write: (bytes: Buffer) => Promise<void>) => Promise<void>): Promise<number> {
  const child = await Child.spawn({ label: 'zstd', argv: ['zstd', '-q', '-c'], stdin: 'pipe', stdout: 'pipe' });
  try {
    const counting = (async () => {
      let bytes = 0;
      for await (const chunk of child.stdout as AsyncIterable<Buffer>) bytes += chunk.length;
      return bytes;
    })();
    await feed(async (bytes) => {
      if (!child.stdin.write(bytes)) await Promise.race([once(child.stdin, 'drain'), child.exited]);
    });
    child.stdin.end();
    const bytes = await counting;
    const exit = await child.exited;
    if (exit.code !== 0) throw new LabError('LAB_TOOL_FAILED', `zstd: ${describeExit(exit)}: ${child.outputTail()}`);
    return bytes;
  } finally {
    await child.stop();
  }
}

/** Reads a run's record once for each kind of compression, and counts. */
export async function traceFigures(runDir: string, signal: AbortSignal): Promise<TraceFigures> {
  const folder = segmentsFolder(runDir);
  const stats = await statsOf(runDir, signal);
  const fixedBytes = new Map<string, number>();
  const compressedFixedBytes = await compressed(async (write) => {
    for await (const item of readSegments(folder)) {
      if (item.type !== 'subbuf') continue;
      const parts: Buffer[] = [];
      walkRecords(item.bytes, item.header, (buf, off, size, kind) => {
        const fixed = fixedSize(buf, off, size, kind);
        const name = KIND_NAMES[kind] ?? `kind ${kind}`;
        fixedBytes.set(name, (fixedBytes.get(name) ?? 0) + fixed);
        parts.push(buf.subarray(off, off + fixed));
      });
      await write(Buffer.concat(parts));
    }
  });
  const compressedBytes = await compressed(async (write) => {
    for await (const item of readSegments(folder)) if (item.type === 'subbuf') await write(item.bytes);
  });
  const segments = await listSegments(folder);
  let segmentBytes = 0;
  for (const segment of segments) segmentBytes += (await stat(path.join(folder, segmentName(segment)))).size;
  const kinds = stats.kinds.map(({ name, count, bytes }) => ({
    kind: name,
    events: count,
    bytes,
    fixedBytes: fixedBytes.get(name) ?? 0,
  }));
  const sum = (of: (row: KindFigures) => number) => kinds.reduce((total, row) => total + of(row), 0);
  return {
    events: sum((row) => row.events),
    bytes: sum((row) => row.bytes),
    fixedBytes: sum((row) => row.fixedBytes),
    compressedBytes,
    compressedFixedBytes,
    kinds,
    lost: Number(stats.account.dropped),
    // A count that does not come out is none to go by, whichever way.
    missing: Number(stats.account.missing + stats.account.surplus),
    segments: segments.length,
    meanSegmentBytes: segments.length === 0 ? 0 : segmentBytes / segments.length,
  };
}
