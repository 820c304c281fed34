// SPDX-License-Identifier: MIT
/**
 * Buffers that are garbage at once, such as each message that a cipher opened. The collector counts what lies in its own
 * heap only, so tens of megabytes of them pile up, each in cold memory. Collected each megabyte, while they are young,
 * they cost little, and their memory is used again while it is in the cache.
 */

/** Of what goes through, between two collections. */
const YOUNG_BYTES = 1024 * 1024;

let passed = 0;

/** So many bytes went through. Does nothing unless Node runs with --expose-gc. */
export function countGarbage(bytes: number): void {
  passed += bytes;
  if (passed < YOUNG_BYTES) return;
  passed = 0;
  globalThis.gc?.({ type: 'minor' });
}
