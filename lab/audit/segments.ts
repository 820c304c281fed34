// SPDX-License-Identifier: MIT
/**
 * Segments, by `docs/format.md`: 64 bytes of header, then sub-buffers, each with its length at 12 and a CRC-32C at 88.
 * Records follow its 96 bytes of header, each with 16 of its own, which begin with length and kind.
 */
import { open } from 'node:fs/promises';

const HEADER_BYTES = 64;
const SUBBUF_HEADER_BYTES = 96;
const SUBBUF_MAX = 1024 * 1024;
const LENGTH_AT = 12;
const CRC_AT = 88;

const TABLE = Uint32Array.from({ length: 256 }, (_none, byte) => {
  let crc = byte;
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1;
  return crc;
});

function crc32c(bytes: Buffer): number {
  let crc = -1;
  for (let i = 0; i < bytes.length; i++) {
    const byte = i >= CRC_AT && i < CRC_AT + 4 ? 0 : (bytes[i] ?? 0);
    crc = (crc >>> 8) ^ (TABLE[(crc ^ byte) & 0xff] ?? 0);
  }
  return ~crc >>> 0;
}

/** The sub-buffers of a segment up to its seal, or to one that is damaged; returns the offset of that. */
async function* subbufsOf(file: string): AsyncGenerator<Buffer, number | undefined, void> {
  const handle = await open(file, 'r');
  try {
    const { size } = await handle.stat();
    let at = HEADER_BYTES;
    while (at < size) {
      const head = Buffer.alloc(SUBBUF_HEADER_BYTES);
      const { bytesRead } = await handle.read(head, 0, head.length, at);
      if (bytesRead === HEADER_BYTES && head.toString('latin1', 0, 8) === 'LMNASEAL') return undefined;
      const length = head.readUInt32LE(LENGTH_AT);
      const isFrame = head.toString('latin1', 0, 4) === 'LMNA' && length >= SUBBUF_HEADER_BYTES;
      if (bytesRead < head.length || !isFrame || length > SUBBUF_MAX || at + length > size) return at;
      const bytes = Buffer.alloc(length);
      await handle.read(bytes, 0, length, at);
      if (crc32c(bytes) !== bytes.readUInt32LE(CRC_AT)) return at;
      yield bytes;
      at += length;
    }
    return undefined;
  } finally {
    await handle.close();
  }
}

/**
 * Where a segment that was changed is damaged first: offset of the first sub-buffer that is not whole or whose checksum is
 * wrong; undefined if there is none. Who repairs the checksum too leaves no place to point at.
 */
export async function damageOf(file: string): Promise<number | undefined> {
  const subbufs = subbufsOf(file);
  for (;;) {
    const { done, value } = await subbufs.next();
    if (done === true) return value;
  }
}

const RECORD_HEADER_BYTES = 16;
const KIND_SHIFT = 26;
const INFO = 11;

/** The texts of the INFO records in a segment, in order. */
export async function* infosOf(file: string): AsyncGenerator<string, void, void> {
  for await (const bytes of subbufsOf(file)) {
    for (let at = SUBBUF_HEADER_BYTES; at + RECORD_HEADER_BYTES <= bytes.length; ) {
      const word = bytes.readUInt32LE(at);
      const end = at + (word % 2 ** KIND_SHIFT);
      if (end < at + RECORD_HEADER_BYTES || end > bytes.length) break;
      const text = bytes.toString('utf8', at + RECORD_HEADER_BYTES, end);
      if (word >>> KIND_SHIFT === INFO) yield text.replace(/\0+$/, '');
      at = end;
    }
  }
}
