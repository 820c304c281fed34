// SPDX-License-Identifier: MIT
/** What turns frames into bytes on the wire and back, once a connection is open: as they are, or inside Noise. */
import { WIRE_NOISE_MESSAGE_MAX, WIRE_NOISE_TAG_BYTES, WIRE_REKEY_MESSAGES } from '../abi/wire.js';
import type { NoiseCipher } from './noise.js';

export interface Channel {
  /** The bytes that carry these. */
  seal(parts: readonly Buffer[]): Buffer[];
  /** What the bytes carried, as far as it is whole; `undefined` and nothing after it if they are not authentic. */
  open(chunk: Buffer): Generator<Buffer | undefined, void, void>;
}

export const plainChannel: Channel = {
  seal: (parts) => [...parts],
  *open(chunk) {
    yield chunk;
  },
};

const LENGTH_BYTES = 2;
const PLAIN_MAX = WIRE_NOISE_MESSAGE_MAX - WIRE_NOISE_TAG_BYTES;

/** After each so many messages of a direction its key is renewed. */
function renew(cipher: NoiseCipher): void {
  if (cipher.messages % WIRE_REKEY_MESSAGES === 0) cipher.rekey();
}

export class NoiseChannel implements Channel {
  readonly #send: NoiseCipher;
  readonly #receive: NoiseCipher;
  /** A message that is not whole yet, its length in front. */
  #partial = Buffer.alloc(0);

  constructor(ciphers: { readonly send: NoiseCipher; readonly receive: NoiseCipher }) {
    this.#send = ciphers.send;
    this.#receive = ciphers.receive;
  }

  seal(parts: readonly Buffer[]): Buffer[] {
    const plain = parts.length === 1 && parts[0] !== undefined ? parts[0] : Buffer.concat(parts);
    const out: Buffer[] = [];
    for (let at = 0; at < plain.length; at += PLAIN_MAX) {
      const sealed = this.#send.encrypt(plain.subarray(at, at + PLAIN_MAX));
      renew(this.#send);
      const length = Buffer.alloc(LENGTH_BYTES);
      length.writeUInt16LE(sealed.length);
      out.push(length, sealed);
    }
    return out;
  }

  *open(chunk: Buffer): Generator<Buffer | undefined, void, void> {
    let bytes = chunk;
    if (this.#partial.length > 0) {
      bytes = Buffer.concat([this.#partial, chunk]);
      this.#partial = Buffer.alloc(0);
    }
    let at = 0;
    while (bytes.length - at >= LENGTH_BYTES) {
      const end = at + LENGTH_BYTES + bytes.readUInt16LE(at);
      if (bytes.length < end) break;
      const plain = this.#receive.decrypt(bytes.subarray(at + LENGTH_BYTES, end));
      if (plain === undefined) {
        yield undefined;
        return;
      }
      renew(this.#receive);
      at = end;
      yield plain;
    }
    // A copy: a view would keep the whole chunk.
    if (at < bytes.length) this.#partial = Buffer.from(bytes.subarray(at));
  }
}
