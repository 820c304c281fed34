// SPDX-License-Identifier: MIT
/** Frames out of a stream that was cut anywhere. */
import { SUBBUF_MAX } from '../abi/records.js';
import { unpackWire, WIRE_SIZE } from './wire.js';

export type FrameStep =
  /** A view of the chunk, or of the room that was given. */
  | { readonly step: 'frame'; readonly type: number; readonly body: Buffer }
  /** A body that does not lie whole in the chunk: give room of so many bytes before going on. */
  | { readonly step: 'room'; readonly bytes: number }
  /** No frame can begin like this; nothing comes after it. */
  | { readonly step: 'bad'; readonly why: string };

/** Holds at most one frame (1 MiB) besides the caller's chunk, in room that the caller gives. */
export class FrameReader {
  readonly #header = Buffer.alloc(WIRE_SIZE.lemona_wire_frame);
  #headerBytes = 0;
  #type = 0;
  #body: Buffer | undefined;
  #filled = 0;

  /** The room that was asked for; a frame step that needed it is over when the next step is asked for. */
  give(room: Buffer): void {
    this.#body = room;
  }

  *push(chunk: Buffer): Generator<FrameStep, void, void> {
    let at = 0;
    while (at < chunk.length) {
      if (this.#headerBytes < this.#header.length) {
        const copied = chunk.copy(this.#header, this.#headerBytes, at);
        this.#headerBytes += copied;
        at += copied;
        if (this.#headerBytes < this.#header.length) return;
        const { length, type, pad } = unpackWire('lemona_wire_frame', this.#header);
        if (pad !== 0 || length % 8 !== 0 || length > SUBBUF_MAX) {
          yield { step: 'bad', why: `a frame of type ${type} with length ${length} and pad ${pad}` };
          return;
        }
        this.#type = type;
        if (chunk.length - at >= length) {
          this.#headerBytes = 0;
          yield { step: 'frame', type, body: chunk.subarray(at, at + length) };
          at += length;
          continue;
        }
        this.#filled = 0;
        yield { step: 'room', bytes: length };
      }
      const body = this.#body;
      if (body === undefined) throw new Error('wire: no room was given for a frame');
      const copied = chunk.copy(body, this.#filled, at);
      this.#filled += copied;
      at += copied;
      if (this.#filled < body.length) return;
      this.#body = undefined;
      this.#headerBytes = 0;
      yield { step: 'frame', type: this.#type, body };
    }
  }
}
