// SPDX-License-Identifier: MIT
/** What a sender does with the server's bytes: opens the messages, if there are any, and finds the frames. */
import type { NoiseCipher } from './noise.js';
import { unpackWire, WIRE_SIZE } from './wire.js';
import { renew } from './wire-channel.js';

const LENGTH_BYTES = 2;

export interface ReadFrame {
  readonly type: number;
  readonly body: Buffer;
}

export class WireReader {
  readonly #cipher: NoiseCipher | undefined;
  #sealed: Buffer = Buffer.alloc(0);
  #plain: Buffer = Buffer.alloc(0);

  /** @param cipher undefined in mode PLAIN */
  constructor(cipher: NoiseCipher | undefined) {
    this.#cipher = cipher;
  }

  /** The frames that are whole now; throws if a message is not authentic. */
  push(chunk: Buffer): ReadFrame[] {
    this.#plain = Buffer.concat([this.#plain, ...(this.#cipher ? this.#open(this.#cipher, chunk) : [chunk])]);
    const frames: ReadFrame[] = [];
    for (let at = 0; ; ) {
      const body = at + WIRE_SIZE.lemona_wire_frame;
      const { length, type } =
        this.#plain.length < body ? { length: Infinity, type: 0 } : unpackWire('lemona_wire_frame', this.#plain, at);
      if (body + length > this.#plain.length) {
        this.#plain = this.#plain.subarray(at);
        return frames;
      }
      frames.push({ type, body: this.#plain.subarray(body, body + length) });
      at = body + length;
    }
  }

  #open(cipher: NoiseCipher, chunk: Buffer): Buffer[] {
    this.#sealed = Buffer.concat([this.#sealed, chunk]);
    const opened: Buffer[] = [];
    while (this.#sealed.length >= LENGTH_BYTES) {
      const end = LENGTH_BYTES + this.#sealed.readUInt16LE();
      if (this.#sealed.length < end) break;
      const plain = cipher.decrypt(this.#sealed.subarray(LENGTH_BYTES, end));
      if (plain === undefined) throw new Error('a message of the server was not authentic');
      renew(cipher);
      opened.push(plain);
      this.#sealed = this.#sealed.subarray(end);
    }
    return opened;
  }
}
