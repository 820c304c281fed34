// SPDX-License-Identifier: MIT
/** Whether a record is still all there: a segment that was cut or deleted at its end leaves no gap in the numbers. */
import type { SegmentProblem } from '../trace/segment-reader.js';
import type { RunManifest } from './manifest.js';

/**
 * Says what run.json counted when it arrived and the segments no longer hold; undefined if nothing is gone. A run that
 * still goes on, or whose recorder was killed, has counted nothing. Pure.
 */
export function goneSince(
  trace: RunManifest['trace'],
  found: { readonly subbufs: number; readonly bytes: number },
): string | undefined {
  if (found.bytes >= trace.bytes) return undefined;
  return (
    `${trace.subbufs} sub-buffers (${trace.bytes} bytes) arrived, the segments hold ${found.subbufs} (${found.bytes} bytes): ` +
    'the rest was cut off or damaged'
  );
}

/** What a sudden end leaves behind, and no damage. */
export const SUDDEN_END: ReadonlySet<string> = new Set(['torn', 'unsealed']);

/** Lines on what of a run's segments can't be read or is not there any more. Pure. */
export function damageOf(
  trace: RunManifest['trace'],
  found: { readonly subbufs: number; readonly bytes: number; readonly problems: readonly SegmentProblem[] },
): string[] {
  const lines = found.problems
    .filter(({ kind }) => !SUDDEN_END.has(kind))
    .map(({ segment, offset, kind, detail }) => `segment ${segment} at ${offset}: ${kind}: ${detail}`);
  const gone = goneSince(trace, found);
  return gone === undefined ? lines : [...lines, gone];
}
