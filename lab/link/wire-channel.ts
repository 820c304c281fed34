// SPDX-License-Identifier: MIT
/** What turns frames into bytes on the wire and back, once a connection is open: as they are, or inside Noise. */
import { WIRE_NOISE_MESSAGE_MAX, WIRE_NOISE_TAG_BYTES, WIRE_REKEY_MESSAGES } from '../abi/wire.js';
import { countGarbage } from '../util/garbage.js';
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

/** Where the message that begins at `at` ends; undefined if it is not whole. */
function messageEnd(bytes: Buffer, at: number): number | undefined {
  if (bytes.length - at < LENGTH_BYTES) return undefined;
  const end = at + LENGTH_BYTES + bytes.readUInt16LE(at);
  return end <= bytes.length ? end : undefined;
}

/** After each so many messages of a direction its key is renewed. */
function renew(cipher: NoiseCipher): void {
  if (cipher.messages % WIRE_REKEY_MESSAGES === 0) cipher.rekey();
}

export class NoiseChannel implements Channel {
  readonly #send: NoiseCipher;
  readonly #receive: NoiseCipher;
  /** Room for a message that is not whole yet, its length in front; made when there is one. */
  #partial: Buffer | undefined;
  #filled = 0;

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
    for (let at = 0; at < chunk.length; ) {
      const end = this.#filled === 0 ? messageEnd(chunk, at) : undefined;
      let message: Buffer | undefined;
      if (end === undefined) {
        const copied = this.#fill(chunk, at);
        at += copied;
        if (this.#partial === undefined || messageEnd(this.#partial.subarray(0, this.#filled), 0) === undefined)
          continue;
        message = this.#partial.subarray(LENGTH_BYTES, this.#filled);
        this.#filled = 0;
      } else {
        message = chunk.subarray(at + LENGTH_BYTES, end);
        at = end;
      }
      const plain = this.#receive.decrypt(message);
      if (plain === undefined) {
        yield undefined;
        return;
      }
      renew(this.#receive);
      countGarbage(plain.length);
      yield plain;
    }
  }

  /** Copies what the message that is not whole still lacks, or its length first. @returns how many bytes of the chunk */
  #fill(chunk: Buffer, at: number): number {
    this.#partial ??= Buffer.allocUnsafe(LENGTH_BYTES + WIRE_NOISE_MESSAGE_MAX);
    const wanted = this.#filled < LENGTH_BYTES ? LENGTH_BYTES : LENGTH_BYTES + this.#partial.readUInt16LE(0);
    const copied = chunk.copy(this.#partial, this.#filled, at, at + wanted - this.#filled);
    this.#filled += copied;
    return copied;
  }
}
