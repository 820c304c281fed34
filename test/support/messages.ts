// SPDX-License-Identifier: MIT
/** The messages of a connection in mode NOISE, as who has no key sees them. */
import { WIRE_NOISE_TAG_BYTES } from '../../lab/abi/wire.js';
import { NOISE_DH_BYTES } from '../../lab/link/noise.js';
import { WIRE_SIZE } from '../../lab/link/wire.js';

/** Who sends. */
export type Side = 'guest' | 'server';

const LENGTH_BYTES = 2;
/** What each side says before its first message. */
const OPENING_BYTES: Readonly<Record<Side, number>> = {
  guest: WIRE_SIZE.lemona_wire_hello + NOISE_DH_BYTES + WIRE_NOISE_TAG_BYTES,
  server: WIRE_SIZE.lemona_wire_challenge + NOISE_DH_BYTES + WIRE_NOISE_TAG_BYTES,
};

/** Finds those of one direction. */
export class Messages {
  #opening: number;
  #rest: Buffer = Buffer.alloc(0);

  constructor(side: Side) {
    this.#opening = OPENING_BYTES[side];
  }

  /** What of the opening came, and the messages that are whole now. */
  push(chunk: Buffer): { readonly opening: Buffer; readonly messages: Buffer[] } {
    const opening = chunk.subarray(0, this.#opening);
    this.#opening -= opening.length;
    let rest = Buffer.concat([this.#rest, chunk.subarray(opening.length)]);
    const messages: Buffer[] = [];
    while (rest.length >= LENGTH_BYTES) {
      const end = LENGTH_BYTES + rest.readUInt16LE();
      if (rest.length < end) break;
      messages.push(rest.subarray(0, end));
      rest = rest.subarray(end);
    }
    this.#rest = rest;
    return { opening, messages };
  }
}
