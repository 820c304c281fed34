// SPDX-License-Identifier: MIT
/**
 * Reassembly of sub-buffers from a byte stream that was cut anywhere. Memory stays below one sub-buffer (1 MiB)
 * besides the caller's chunk. There is no resynchronization: after the first bad frame nothing is believed, and
 * whatever came before it has already been handed out.
 */
import { checkHeader, parseSubbuf, SUBBUF_HEADER_BYTES, type SubbufHeader, type SubbufProblem } from './subbuf.js';

export type FrameEvent =
  | { readonly type: 'subbuf'; readonly position: number; readonly header: SubbufHeader; readonly bytes: Buffer }
  | { readonly type: 'bad'; readonly position: number; readonly problem: SubbufProblem };

export type FrameEnd =
  | { readonly type: 'clean'; readonly position: number }
  /** The stream ended inside a sub-buffer; `bytes` of it had come. */
  | { readonly type: 'torn'; readonly position: number; readonly bytes: number }
  | { readonly type: 'bad'; readonly position: number; readonly problem: SubbufProblem };

export class FrameAssembler {
  /** Offset in the stream where the current frame began. */
  #position = 0;
  /** The current frame: first a header, then, grown to its length, the whole. */
  #partial: Buffer | undefined;
  #filled = 0;
  #bad: Extract<FrameEnd, { type: 'bad' }> | undefined;

  /** The bad frame that ended the stream, if one did. */
  get bad(): Extract<FrameEnd, { type: 'bad' }> | undefined {
    return this.#bad;
  }

  /**
   * Takes the next bytes. Frames that lie whole in the chunk are views of it, not copies: do not reuse the chunk's
   * memory while they are in use. After a bad frame further bytes are ignored.
   */
  *push(chunk: Buffer): Generator<FrameEvent, void, void> {
    let at = 0;
    while (at < chunk.length && this.#bad === undefined) {
      if (this.#partial === undefined) {
        const check = checkHeader(chunk, at);
        const isWhole = check.ok && chunk.length - at >= check.header.length;
        if (!isWhole && (check.ok || check.problem.kind === 'torn')) {
          this.#partial = Buffer.allocUnsafe(check.ok ? check.header.length : SUBBUF_HEADER_BYTES);
          this.#filled = 0;
          continue;
        }
        const bytes = check.ok ? chunk.subarray(at, at + check.header.length) : chunk.subarray(at);
        at += bytes.length;
        yield this.#finish(bytes);
        continue;
      }
      const copied = chunk.copy(this.#partial, this.#filled, at);
      at += copied;
      this.#filled += copied;
      if (this.#filled < this.#partial.length) return;
      const check = checkHeader(this.#partial);
      if (check.ok && check.header.length > this.#partial.length) {
        const whole = Buffer.allocUnsafe(check.header.length);
        this.#partial.copy(whole);
        this.#partial = whole;
        continue;
      }
      const bytes = this.#partial;
      this.#partial = undefined;
      this.#filled = 0;
      yield this.#finish(bytes);
    }
  }

  #finish(bytes: Buffer): FrameEvent {
    const position = this.#position;
    const check = parseSubbuf(bytes);
    if (!check.ok) {
      this.#bad = { type: 'bad', position, problem: check.problem };
      return this.#bad;
    }
    this.#position += bytes.length;
    return { type: 'subbuf', position, header: check.header, bytes };
  }

  /** The bytes of a frame that has begun and is not whole: a view that the next push changes. */
  get unfinished(): Buffer {
    return this.#partial?.subarray(0, this.#filled) ?? Buffer.alloc(0);
  }

  /** The stream has ended: how? */
  end(): FrameEnd {
    if (this.#bad !== undefined) return this.#bad;
    if (this.#filled === 0) return { type: 'clean', position: this.#position };
    const check = checkHeader(this.unfinished);
    if (!check.ok && check.problem.kind !== 'torn')
      return { type: 'bad', position: this.#position, problem: check.problem };
    return { type: 'torn', position: this.#position, bytes: this.#filled };
  }
}
