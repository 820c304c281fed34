// SPDX-License-Identifier: MIT
/** What turns the server's frames into bytes on the wire, once a connection is open: as they are, or inside Noise. */
import { WIRE_NOISE_MESSAGE_MAX, WIRE_NOISE_TAG_BYTES, WIRE_REKEY_MESSAGES } from '../abi/wire.js';
import type { NoiseCipher } from './noise.js';

export interface Channel {
  /** The bytes that carry these. */
  seal(parts: readonly Buffer[]): Buffer[];
}

export const plainChannel: Channel = { seal: (parts) => [...parts] };

const LENGTH_BYTES = 2;
const PLAIN_MAX = WIRE_NOISE_MESSAGE_MAX - WIRE_NOISE_TAG_BYTES;

/** After each so many messages of a direction its key is renewed. */
export function renew(cipher: NoiseCipher): void {
  if (cipher.messages % WIRE_REKEY_MESSAGES === 0) cipher.rekey();
}

export function noiseChannel(cipher: NoiseCipher): Channel {
  return {
    seal(parts) {
      const plain = parts.length === 1 && parts[0] !== undefined ? parts[0] : Buffer.concat(parts);
      const out: Buffer[] = [];
      for (let at = 0; at < plain.length; at += PLAIN_MAX) {
        const sealed = cipher.encrypt(plain.subarray(at, at + PLAIN_MAX));
        renew(cipher);
        const length = Buffer.alloc(LENGTH_BYTES);
        length.writeUInt16LE(sealed.length);
        out.push(length, sealed);
      }
      return out;
    },
  };
}
