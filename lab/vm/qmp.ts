// SPDX-License-Identifier: MIT
/**
 * A QMP client: greeting, capabilities, commands with deadlines, events.
 *
 * States: greeting → negotiating → ready → closed. A call in the wrong state
 * is refused with both states in the message.
 */
import { EventEmitter } from 'node:events';
import type { Socket } from 'node:net';
import { type Deferred, deferred, withDeadline } from '../util/deadline.js';
import { LabError } from '../util/errors.js';

export type QmpState = 'greeting' | 'negotiating' | 'ready' | 'closed';

export interface QmpEvent {
  readonly event: string;
  readonly data: Record<string, unknown>;
}

export interface QmpOptions {
  /** Given every line of both directions, for qmp.jsonl. */
  readonly record?: (line: string) => void;
  readonly timeoutMs?: number;
}

type Json = Record<string, unknown>;

/** A line longer than this is no QMP: the largest real answer (query-qmp-schema) is 200 KB. */
const LINE_LIMIT = 8 * 1024 * 1024;

function isObject(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

export class QmpClient {
  readonly #socket: Socket;
  readonly #options: QmpOptions;
  readonly #events = new EventEmitter();
  readonly #pending = new Map<number, { readonly command: string; readonly answer: Deferred<unknown> }>();
  readonly #greeting = deferred<string>();
  readonly #closed = deferred<void>();
  #state: QmpState = 'greeting';
  #nextId = 1;
  #lastEvent = 'none';
  #text: Buffer[] = [];
  #textSize = 0;

  private constructor(socket: Socket, options: QmpOptions) {
    this.#socket = socket;
    this.#options = options;
    socket.on('data', (chunk: Buffer) => this.#receive(chunk));
    // After `quit` QEMU may reset the connection instead of closing it.
    socket.on('error', () => {});
    socket.once('close', () => this.#close());
    socket.resume();
  }

  /** Takes a connected socket through greeting and capabilities. */
  static async connect(socket: Socket, options: QmpOptions = {}): Promise<QmpClient> {
    const client = new QmpClient(socket, options);
    const timeoutMs = options.timeoutMs ?? 10_000;
    await withDeadline(client.#greeting.promise, { label: "QMP: QEMU's greeting", timeoutMs, code: 'LAB_QMP_TIMEOUT' });
    client.#state = 'negotiating';
    await client.#send('qmp_capabilities', undefined, timeoutMs);
    if (client.state === 'closed') throw client.#stateError('qmp_capabilities', 'ready');
    client.#state = 'ready';
    return client;
  }

  get state(): QmpState {
    return this.#state;
  }

  /** Name of the last event seen, for messages. */
  get lastEvent(): string {
    return this.#lastEvent;
  }

  /** QEMU's version as in its greeting, `7.2.22`. */
  get version(): Promise<string> {
    return this.#greeting.promise;
  }

  /** Settles when the connection is over. */
  get closed(): Promise<void> {
    return this.#closed.promise;
  }

  /** Runs one command and returns its `return` value. */
  async execute(command: string, args?: Json, options: { timeoutMs?: number } = {}): Promise<unknown> {
    if (this.#state !== 'ready') throw this.#stateError(command, 'ready');
    return this.#send(command, args, options.timeoutMs ?? this.#options.timeoutMs ?? 10_000);
  }

  /** Calls `listener` at each event; returns the function that stops it. */
  onEvent(listener: (event: QmpEvent) => void): () => void {
    this.#events.on('event', listener);
    return () => this.#events.off('event', listener);
  }

  /** Drops the connection; QEMU goes on. */
  close(): void {
    this.#socket.destroy();
    this.#close();
  }

  async #send(command: string, args: Json | undefined, timeoutMs: number): Promise<unknown> {
    const id = this.#nextId++;
    const answer = deferred<unknown>();
    this.#pending.set(id, { command, answer });
    const line = JSON.stringify({ execute: command, ...(args === undefined ? {} : { arguments: args }), id });
    this.#options.record?.(line);
    this.#socket.write(`${line}\n`);
    try {
      return await withDeadline(answer.promise, {
        label: `QMP command '${command}'`,
        timeoutMs,
        code: 'LAB_QMP_TIMEOUT',
        lastSeen: () => `event ${this.#lastEvent}`,
      });
    } finally {
      this.#pending.delete(id);
    }
  }

  #receive(chunk: Buffer): void {
    let rest = chunk;
    for (let end = rest.indexOf(10); end >= 0; end = rest.indexOf(10)) {
      this.#text.push(rest.subarray(0, end));
      const line = Buffer.concat(this.#text).toString('utf8').trim();
      this.#text = [];
      this.#textSize = 0;
      rest = rest.subarray(end + 1);
      if (line !== '') this.#line(line);
    }
    this.#textSize += rest.length;
    if (this.#textSize > LINE_LIMIT) {
      this.#socket.destroy(new LabError('LAB_QMP_ERROR', `QMP: a line of more than ${LINE_LIMIT} bytes`));
      return;
    }
    if (rest.length > 0) this.#text.push(rest);
  }

  #line(line: string): void {
    this.#options.record?.(line);
    let message: unknown;
    try {
      message = JSON.parse(line);
    } catch {
      return;
    }
    if (!isObject(message)) return;
    if (isObject(message.QMP)) {
      const version =
        isObject(message.QMP.version) && isObject(message.QMP.version.qemu) ? message.QMP.version.qemu : {};
      this.#greeting.resolve(`${version.major ?? '?'}.${version.minor ?? '?'}.${version.micro ?? '?'}`);
    } else if (typeof message.event === 'string') {
      this.#lastEvent = message.event;
      this.#events.emit('event', {
        event: message.event,
        data: isObject(message.data) ? message.data : {},
      } satisfies QmpEvent);
    } else if (typeof message.id === 'number') {
      const pending = this.#pending.get(message.id);
      if (pending === undefined) return;
      if (isObject(message.error)) {
        const { class: kind, desc } = message.error;
        pending.answer.reject(
          new LabError('LAB_QMP_ERROR', `QMP command '${pending.command}' failed: ${String(desc)} (${String(kind)})`),
        );
      } else {
        pending.answer.resolve(message.return);
      }
    }
  }

  #close(): void {
    if (this.#state === 'closed') return;
    const was = this.#state;
    this.#state = 'closed';
    this.#greeting.reject(new LabError('LAB_QMP_STATE', 'QMP: the connection closed before the greeting'));
    for (const { command, answer } of this.#pending.values()) {
      answer.reject(
        new LabError('LAB_QMP_STATE', `QMP command '${command}': the connection closed while it was '${was}'`),
      );
    }
    this.#pending.clear();
    this.#closed.resolve();
  }

  #stateError(command: string, wanted: QmpState): LabError {
    return new LabError(
      'LAB_QMP_STATE',
      `QMP command '${command}': the connection is '${this.#state}', it must be '${wanted}'`,
    );
  }
}
