// SPDX-License-Identifier: MIT
/**
 * Where a segment that was changed is damaged first, by `docs/format.md`: 64 bytes of header, then sub-buffers, each
 * with its length at 12 and a CRC-32C at 88. Who repairs the checksum too leaves no place to point at.
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

/** Offset of the first sub-buffer that is not whole or whose checksum is wrong; undefined if there is none. */
export async function damageOf(file: string): Promise<number | undefined> {
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
      at += length;
    }
    return undefined;
  } finally {
    await handle.close();
  }
}
