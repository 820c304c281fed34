// SPDX-License-Identifier: MIT
import { expect } from 'chai';
import { readSegments } from '../../lab/trace/segment-reader.js';

/** Segments that can be read to their ends, and no sub-buffer twice in them. */
export async function expectEachOnce(folder: string): Promise<void> {
  const seen = new Set<string>();
  for await (const item of readSegments(folder)) {
    if (item.type === 'problem') throw new Error(`segment ${item.segment}: ${item.detail}`);
    const key = `${item.header.cpu}:${item.header.number}`;
    expect(seen.has(key), `${key} is doubled`).to.equal(false);
    seen.add(key);
  }
}
