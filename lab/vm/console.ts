// SPDX-License-Identifier: MIT
/**
 * The guest's serial console: a real terminal emulator keeps the screen as a
 * person would see it, and a line scanner watches for the kernel's last words.
 */
import { EventEmitter } from 'node:events';
import { createRequire } from 'node:module';
import type { Socket } from 'node:net';
import type { Terminal } from '@xterm/headless';
import { OutputTail } from '../proc/tail.js';
import { ESCAPES, isLastWords, REPORT_LINES } from './kernel-reports.js';

// A CommonJS module without a default export: what `import` makes of it differs between loaders.
const xterm = createRequire(import.meta.url)('@xterm/headless') as typeof import('@xterm/headless');

/** Columns a kernel line may take before the emulator wraps it. */
const COLUMNS = 160;
const ROWS = 50;

/** Lines after which the scanner gives up on a line end: binary on the console must not grow memory. */
const LINE_LIMIT = 4096;

/** Bytes of answers that wait for the guest. */
const ANSWERS_LIMIT = 4096;

export class GuestConsole {
  readonly #terminal: Terminal;
  readonly #events = new EventEmitter();
  readonly #tail = new OutputTail(4096);
  readonly #report: string[] = [];
  #line = '';
  #lastScreen: string[] | undefined;

  constructor() {
    this.#terminal = new xterm.Terminal({
      cols: COLUMNS,
      rows: ROWS,
      scrollback: 200,
      allowProposedApi: true,
      convertEol: true,
      // Else it prints its parser's state to our stderr for each sequence of the guest's that it does not know.
      logLevel: 'off',
    });
  }

  /** Feeds the console from a socket until that ends; answers of the terminal go back to the guest. */
  attach(socket: Socket): void {
    socket.on('data', (chunk: Buffer) => {
      // A console that floods is read no faster than the emulator can draw it.
      socket.pause();
      this.write(chunk, () => socket.resume());
    });
    socket.on('error', () => {});
    socket.resume();
    this.#terminal.onData((answer: string) => {
      // A guest that asks the terminal and never reads its answers gets no more of them.
      if (socket.writable && socket.writableLength < ANSWERS_LIMIT) socket.write(answer);
    });
  }

  /** Takes output of the guest; `done` is called once it is on the screen. */
  write(chunk: Buffer, done?: () => void): void {
    this.#tail.push(chunk);
    this.#events.emit('text', chunk);
    this.#scan(chunk.toString('latin1'));
    this.#terminal.write(chunk, done);
  }

  /** The live text as it arrives. */
  onText(listener: (chunk: Buffer) => void): () => void {
    this.#events.on('text', listener);
    return () => this.#events.off('text', listener);
  }

  /** Called once, at the first line of a kernel's crash report. */
  onCrash(listener: (line: string) => void): () => void {
    this.#events.once('crash', listener);
    return () => this.#events.off('crash', listener);
  }

  /** The kernel's crash report so far, or undefined while it is healthy. */
  get crash(): string | undefined {
    return this.#report.length === 0 ? undefined : this.#report.join('\n');
  }

  /** The screen's lines, without trailing blanks. */
  screen(): string[] {
    if (this.#lastScreen !== undefined) return this.#lastScreen;
    const buffer = this.#terminal.buffer.active;
    const lines: string[] = [];
    for (let row = 0; row < ROWS; row++) {
      lines.push(buffer.getLine(buffer.baseY + row)?.translateToString(true) ?? '');
    }
    while (lines.at(-1) === '') lines.pop();
    return lines;
  }

  /** The last few KiB as text, without terminal escapes. */
  tail(): string {
    return this.#tail.text().replaceAll(ESCAPES, '');
  }

  /** Frees the emulator; the last screen can still be read. */
  dispose(): void {
    this.#lastScreen = this.screen();
    this.#terminal.dispose();
  }

  #scan(text: string): void {
    const parts = (this.#line + text).split('\n');
    this.#line = (parts.pop() ?? '').slice(-LINE_LIMIT);
    for (const part of parts) {
      const line = part.replaceAll(ESCAPES, '').trimEnd();
      if (this.#report.length > 0) {
        if (this.#report.length < REPORT_LINES) this.#report.push(line);
      } else if (isLastWords(line)) {
        this.#report.push(line);
        this.#events.emit('crash', line);
      }
    }
  }
}
