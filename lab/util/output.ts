// SPDX-License-Identifier: MIT
/** Data on stdout: back-pressure is obeyed, and a reader that left is no error. */
import { once } from 'node:events';
import type { Writable } from 'node:stream';
import { toJson } from './json.js';
import { printable } from './printable.js';

export class Output {
  readonly #stream: Writable & { readonly isTTY?: boolean };
  #gone = false;

  constructor(stream: Writable & { readonly isTTY?: boolean }) {
    this.#stream = stream;
    stream.on('error', () => {
      this.#gone = true;
    });
  }

  /** True once the reader has closed its end (`| head`): stop producing. */
  get gone(): boolean {
    return this.#gone;
  }

  get isTerminal(): boolean {
    return this.#stream.isTTY === true;
  }

  async write(text: string | Uint8Array): Promise<void> {
    if (this.#gone || this.#stream.write(text)) return;
    await Promise.race([once(this.#stream, 'drain'), once(this.#stream, 'close')]).catch(() => {
      this.#gone = true;
    });
  }

  /** For people; it may hold words of a guest's, or of a package from elsewhere. */
  async line(text: string): Promise<void> {
    await this.write(`${printable(text)}\n`);
  }

  /** One object on one line; a bigint becomes a decimal string. */
  async json(value: unknown): Promise<void> {
    await this.write(`${toJson(value)}\n`);
  }

  /** Waits until all of it has reached the kernel. */
  async flush(): Promise<void> {
    if (this.#gone) return;
    await new Promise<void>((resolve) => {
      this.#stream.write('', () => resolve());
    });
  }
}
