// SPDX-License-Identifier: MIT
/** Whether a record is still all there: a segment that was cut or deleted at its end leaves no gap in the numbers. */
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
