// SPDX-License-Identifier: MIT
/** Digests of files, in the two ways that `docs/evidence.md` and `docs/format.md` know. */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { open } from 'node:fs/promises';

/** As an entry of a chain names them. */
export const DIGESTS = { sha256: sha256Of, sha256x16: sha256x16Of } as const;
export type DigestName = keyof typeof DIGESTS;

const BLOCK_BYTES = 4096;
const STREAMS = 16;
/** Read at a time; a file that is not larger is read at once. A multiple of a block for each stream. */
const CHUNK_BYTES = 1024 * 1024;

/** SHA-256 of a file, in hex. */
async function sha256Of(file: string, size: number): Promise<string> {
  const hash = createHash('sha256');
  await readAll(file, size, (chunk) => hash.update(chunk));
  return hash.digest('hex');
}

/** SHA-256 of a file in sixteen streams, in hex. */
async function sha256x16Of(file: string, size: number): Promise<string> {
  const streams = Array.from({ length: STREAMS }, () => createHash('sha256'));
  await readAll(file, size, (chunk) => {
    for (const [i, stream] of streams.entries()) {
      for (let at = i * BLOCK_BYTES; at < chunk.length; at += STREAMS * BLOCK_BYTES)
        stream.update(chunk.subarray(at, at + BLOCK_BYTES));
    }
  });
  const all = createHash('sha256').update('lemona sha256 x16 4096\n');
  for (const stream of streams) all.update(stream.digest());
  return all.digest('hex');
}

/** Each chunk but the last one is CHUNK_BYTES long. */
async function readAll(file: string, size: number, onChunk: (chunk: Buffer) => void): Promise<void> {
  if (size <= CHUNK_BYTES) {
    const bytes = readFileSync(file);
    for (let at = 0; at < bytes.length; at += CHUNK_BYTES) onChunk(bytes.subarray(at, at + CHUNK_BYTES));
    return;
  }
  const handle = await open(file, 'r');
  try {
    const chunk = Buffer.alloc(CHUNK_BYTES);
    for (;;) {
      let filled = 0;
      while (filled < CHUNK_BYTES) {
        const { bytesRead } = await handle.read(chunk, filled, CHUNK_BYTES - filled, null);
        if (bytesRead === 0) break;
        filled += bytesRead;
      }
      onChunk(chunk.subarray(0, filled));
      if (filled < CHUNK_BYTES) return;
    }
  } finally {
    await handle.close();
  }
}
