// SPDX-License-Identifier: MIT
/**
 * The control port: how the host runs commands in the guest.
 *
 * Both ways, a frame is `u32 payload length, u8 type, payload`, little-endian.
 *
 *   host → guest
 *     R  u32 id, u8 flags (bit 0: stdin is piped), arguments each closed by NUL
 *     I  u32 id, bytes for its stdin; none means end of file
 *     K  u32 id, u32 signal
 *     C  checkpoint: start recording under a frozen file system (module configurations)
 *     S  shut down: kill everything, mark `end`, drain the trace, answer Z
 *     Z  power off: every byte has arrived
 *   guest → host
 *     H  hello, `key=value` lines
 *     O  u32 id, bytes of its stdout
 *     E  u32 id, bytes of its stderr
 *     X  u32 id, s32 status: exit code, or 128 + signal
 *     P  a problem, in words
 *     Z  u64: everything is out, that many bytes of trace; waits for our Z
 *
 * Back-pressure: the guest stops reading while a command's stdin is full, and
 * we stop reading while whoever takes a command's output is full. The port is
 * one stream, so one slow taker makes all commands wait.
 */
import type { Socket } from 'node:net';
import type { Readable, Writable } from 'node:stream';
import { type Deferred, deferred } from '../util/deadline.js';
import { LabError } from '../util/errors.js';

/** Larger frames are a broken stream: the guest's pipes hold 64 KiB, we send 32 KiB at most. */
export const CTL_FRAME_LIMIT = 1024 * 1024;
const STDIN_CHUNK = 32 * 1024;
const HEADER_SIZE = 5;

export interface CtlFrame {
  readonly type: string;
  readonly payload: Buffer;
}

/** One frame as bytes. */
export function encodeCtlFrame(type: string, ...parts: readonly Buffer[]): Buffer {
  const header = Buffer.alloc(HEADER_SIZE);
  header.writeUInt32LE(
    parts.reduce((sum, part) => sum + part.length, 0),
    0,
  );
  header.writeUInt8(type.charCodeAt(0), 4);
  return Buffer.concat([header, ...parts]);
}

function u32(value: number): Buffer {
  const buffer = Buffer.alloc(4);
  buffer.writeUInt32LE(value >>> 0);
  return buffer;
}

/** Bytes of a complaint of the guest's, and complaints, that are heard. */
const PROBLEM_LIMIT = 4096;
const PROBLEMS_KEPT = 1000;

/** Chunks that wait to be joined: joining each one at once would copy a frame as often as it has chunks. */
const PARTS_MAX = 1024;

/** Cuts a byte stream into frames; memory is bounded by the frame limit plus one chunk. */
export class CtlFrameParser {
  #rest: Buffer = Buffer.alloc(0);
  /** What came after #rest. */
  #parts: Buffer[] = [];
  #partsBytes = 0;
  /** Bytes from which on there is something to do. */
  #needed = HEADER_SIZE;

  /** Adds a chunk and returns the frames it completes. */
  push(chunk: Buffer): CtlFrame[] {
    const frames: CtlFrame[] = [];
    this.#parts.push(chunk);
    this.#partsBytes += chunk.length;
    const isEnough = this.#rest.length + this.#partsBytes >= this.#needed;
    if (!isEnough && this.#parts.length < PARTS_MAX) return frames;
    this.#rest =
      this.#rest.length === 0 && this.#parts.length === 1 ? chunk : Buffer.concat([this.#rest, ...this.#parts]);
    this.#parts = [];
    this.#partsBytes = 0;
    if (!isEnough) return frames;
    this.#needed = HEADER_SIZE;
    while (this.#rest.length >= HEADER_SIZE) {
      const length = this.#rest.readUInt32LE(0);
      if (length > CTL_FRAME_LIMIT) {
        throw new LabError(
          'LAB_CTL_PROTOCOL',
          `control port: the guest announced a frame of ${length} bytes, at most ${CTL_FRAME_LIMIT} are allowed`,
        );
      }
      if (this.#rest.length < HEADER_SIZE + length) {
        this.#needed = HEADER_SIZE + length;
        break;
      }
      frames.push({
        type: String.fromCharCode(this.#rest.readUInt8(4)),
        payload: this.#rest.subarray(HEADER_SIZE, HEADER_SIZE + length),
      });
      this.#rest = this.#rest.subarray(HEADER_SIZE + length);
    }
    return frames;
  }
}

export interface GuestRunOptions {
  /** Piped to the command, and destroyed when that ends; without it, the command's stdin is empty. */
  readonly stdin?: Readable;
  /** Its output is thrown away where nothing takes it. */
  readonly stdout?: Writable;
  readonly stderr?: Writable;
}

export interface GuestCommand {
  readonly id: number;
  /** Exit code, or 128 + signal. Rejects if the guest goes away first. */
  readonly status: Promise<number>;
  kill(signal: number): void;
}

interface RunningCommand {
  readonly options: GuestRunOptions;
  readonly status: Deferred<number>;
}

export class CtlClient {
  readonly #socket: Socket;
  readonly #parser = new CtlFrameParser();
  readonly #running = new Map<number, RunningCommand>();
  readonly #hello = deferred<ReadonlyMap<string, string>>();
  readonly #off = deferred<bigint>();
  readonly #problems: string[] = [];
  readonly #problemListeners = new Set<(text: string) => void>();
  #nextId = 1;
  #closed = false;
  #lastFrame = 'none';

  constructor(socket: Socket) {
    this.#socket = socket;
    void this.#read();
  }

  /** What the guest said of itself when it was ready. */
  get hello(): Promise<ReadonlyMap<string, string>> {
    return this.#hello.promise;
  }

  /** Everything the guest complained of so far. */
  get problems(): readonly string[] {
    return this.#problems;
  }

  /** Type of the last frame, for messages. */
  get lastFrame(): string {
    return this.#lastFrame;
  }

  onProblem(listener: (text: string) => void): () => void {
    this.#problemListeners.add(listener);
    return () => this.#problemListeners.delete(listener);
  }

  /** Starts a command as root in the guest's root file system. Several may run at once. */
  run(argv: readonly [string, ...string[]], options: GuestRunOptions = {}): GuestCommand {
    for (const word of argv) {
      if (word.includes('\0'))
        throw new LabError('LAB_USAGE', `an argument may not hold a NUL: ${JSON.stringify(word)}`);
    }
    const id = this.#nextId++;
    const status = deferred<number>();
    const words = Buffer.from(argv.map((word) => `${word}\0`).join(''), 'utf8');
    if (words.length > CTL_FRAME_LIMIT - 16) {
      throw new LabError('LAB_USAGE', `the command is ${words.length} bytes long, at most ${CTL_FRAME_LIMIT - 16} fit`);
    }
    if (this.#closed) {
      status.reject(this.#gone(`running ${argv[0]}`));
      return { id, status: status.promise, kill: () => {} };
    }
    this.#running.set(id, { options, status });
    this.#send('R', u32(id), Buffer.from([options.stdin === undefined ? 0 : 1]), words);
    if (options.stdin !== undefined) void this.#pump(id, options.stdin);
    return { id, status: status.promise, kill: (signal) => this.#send('K', u32(id), u32(signal)) };
  }

  /** Asks for the checkpoint of a module configuration; it is there when the mark `start` is. */
  checkpoint(): void {
    this.#send('C');
  }

  /** Asks the guest to end; settles with the bytes of trace it has sent when it says that everything is out. */
  shutDown(): Promise<bigint> {
    this.#send('S');
    return this.#off.promise;
  }

  /** Lets a guest that said everything is out power off. */
  powerOff(): void {
    this.#send('Z');
  }

  #send(type: string, ...parts: readonly Buffer[]): boolean {
    if (this.#closed || !this.#socket.writable) return false;
    return this.#socket.write(encodeCtlFrame(type, ...parts));
  }

  async #read(): Promise<void> {
    let failure: unknown;
    try {
      // The iterator reads the next chunk only when this one is dealt with: that is the back-pressure.
      for await (const chunk of this.#socket as AsyncIterable<Buffer>) {
        for (const frame of this.#parser.push(chunk)) await this.#frame(frame);
      }
    } catch (error) {
      failure = error;
    }
    this.#closed = true;
    this.#socket.destroy();
    this.#hello.reject(this.#gone('waiting for hello', failure));
    this.#off.reject(this.#gone('waiting for the end', failure));
    for (const { status } of this.#running.values()) status.reject(this.#gone('a command was running', failure));
    this.#running.clear();
  }

  async #frame({ type, payload }: CtlFrame): Promise<void> {
    this.#lastFrame = type;
    switch (type) {
      case 'H':
        this.#hello.resolve(parseHello(payload.toString('utf8')));
        return;
      case 'P': {
        // A guest that complains for ever must fill neither our memory nor the terminal.
        if (this.#problems.length >= PROBLEMS_KEPT) return;
        const text = payload.subarray(0, PROBLEM_LIMIT).toString('utf8').trimEnd();
        this.#problems.push(text);
        for (const listener of this.#problemListeners) listener(text);
        return;
      }
      case 'Z':
        this.#off.resolve(payload.length >= 8 ? payload.readBigUInt64LE(0) : 0n);
        return;
      case 'O':
      case 'E': {
        const { options } = this.#runningOf(type, payload) ?? {};
        const taker = type === 'O' ? options?.stdout : options?.stderr;
        if (taker !== undefined) await writeAll(taker, payload.subarray(4));
        return;
      }
      case 'X': {
        if (payload.length < 8) throw short(type, payload);
        const command = this.#runningOf(type, payload);
        this.#running.delete(payload.readUInt32LE(0));
        command?.options.stdin?.destroy();
        command?.status.resolve(payload.readInt32LE(4));
        return;
      }
      default:
        throw new LabError(
          'LAB_CTL_PROTOCOL',
          `control port: the guest sent a frame of unknown type ${JSON.stringify(type)}`,
          {
            next: 'the guest tools and this program are of different versions: ./lemona build image rebuilds them',
          },
        );
    }
  }

  #runningOf(type: string, payload: Buffer): RunningCommand | undefined {
    if (payload.length < 4) throw short(type, payload);
    return this.#running.get(payload.readUInt32LE(0));
  }

  /** Sends a stream as the command's stdin, no faster than the guest takes it. */
  async #pump(id: number, stdin: Readable): Promise<void> {
    try {
      for await (const chunk of stdin as AsyncIterable<Buffer | string>) {
        const bytes = Buffer.from(chunk);
        for (let at = 0; at < bytes.length; at += STDIN_CHUNK) {
          // The command ended, or the guest did: nobody wants the rest.
          if (!this.#running.has(id)) return;
          if (!this.#send('I', u32(id), bytes.subarray(at, at + STDIN_CHUNK))) await drained(this.#socket);
        }
      }
      this.#send('I', u32(id));
    } catch (error) {
      const running = this.#running.get(id);
      // It ended, and its stdin was destroyed for that.
      if (running === undefined) return;
      // An empty frame here would look like a whole stream to the command.
      running.status.reject(new LabError('LAB_ENV_IO', 'reading what a guest command is fed failed', { cause: error }));
      this.#send('K', u32(id), u32(9));
    }
  }

  #gone(what: string, cause?: unknown): LabError {
    if (cause instanceof LabError) return cause;
    return new LabError('LAB_VM_EXITED', `control port: closed while ${what} (last frame: ${this.#lastFrame})`, {
      cause,
    });
  }
}

function short(type: string, payload: Buffer): LabError {
  return new LabError('LAB_CTL_PROTOCOL', `control port: a frame '${type}' of only ${payload.length} bytes`);
}

/** `key=value` lines; a line without `=` is no fact and is skipped. */
export function parseHello(text: string): ReadonlyMap<string, string> {
  const facts = new Map<string, string>();
  for (const line of text.split('\n')) {
    const equals = line.indexOf('=');
    if (equals > 0) facts.set(line.slice(0, equals), line.slice(equals + 1));
  }
  return facts;
}

/** Waits until a stream takes more, or is gone. */
function drained(stream: Writable): Promise<void> {
  if (!stream.writableNeedDrain || stream.destroyed) return Promise.resolve();
  return new Promise((resolve) => {
    const done = () => {
      stream.off('drain', done);
      stream.off('close', done);
      stream.off('error', done);
      resolve();
    };
    stream.on('drain', done);
    stream.on('close', done);
    stream.on('error', done);
  });
}

/** Writes and waits if the taker is full; a taker that is gone (a closed pipe) loses the rest. */
async function writeAll(taker: Writable, bytes: Buffer): Promise<void> {
  if (taker.destroyed || taker.writableEnded) return;
  if (!taker.write(bytes)) await drained(taker);
}
