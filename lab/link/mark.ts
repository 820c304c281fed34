// SPDX-License-Identifier: MIT
/**
 * The mark port: the guest asks for a snapshot of its disk while its file
 * system is frozen.
 *
 *   guest → host   MARK <seq> <real_ns> <label>\n
 *   host → guest   OK\n   or   ERR <why>\n
 *
 * The port can be opened by one process of the guest at a time, so requests
 * come one after another.
 */
import type { Socket } from 'node:net';
import { messageOf } from '../util/errors.js';

export interface MarkRequest {
  /** Sequence number of the MARK record. */
  readonly seq: bigint;
  /** The guest's wall clock, ns since 1970. */
  readonly realNs: bigint;
  readonly label: string;
}

/** A request is shorter than this; a guest that sends no line end must not fill our memory. */
const LINE_LIMIT = 4096;

/** Labels become names of snapshots and of instants (`mark:L`), and the guest's buffer holds 128 bytes. */
const LABEL = /^[\w.+@-]{1,120}$/;

const U64_MAX = 2n ** 64n - 1n;

const REQUEST = /^MARK (\d{1,20}) (\d{1,20}) (.+)$/;

/** Reads one request line, or says what is wrong with it. */
export function parseMarkRequest(line: string): MarkRequest | string {
  const match = REQUEST.exec(line);
  const [, seq, realNs, label] = match ?? [];
  if (seq === undefined || realNs === undefined || label === undefined) {
    return `malformed request ${JSON.stringify(line.slice(0, 80))}, wanted 'MARK <seq> <real_ns> <label>'`;
  }
  if (BigInt(seq) > U64_MAX || BigInt(realNs) > U64_MAX) return 'a number that does not fit 64 bits';
  if (!LABEL.test(label))
    return `label ${JSON.stringify(label.slice(0, 140))} may hold letters, digits and _ . + @ - only, at most 120`;
  return { seq: BigInt(seq), realNs: BigInt(realNs), label };
}

/**
 * Serves the port until it closes. `onMark` takes the snapshot; what it throws
 * is told to the guest in one line, which thaws either way.
 */
export async function serveMarks(socket: Socket, onMark: (request: MarkRequest) => Promise<void>): Promise<void> {
  let rest = '';
  try {
    for await (const chunk of socket as AsyncIterable<Buffer>) {
      rest += chunk.toString('utf8');
      for (let end = rest.indexOf('\n'); end >= 0; end = rest.indexOf('\n')) {
        const line = rest.slice(0, end);
        rest = rest.slice(end + 1);
        if (!socket.write(await answer(line, onMark))) await drained(socket);
      }
      if (rest.length > LINE_LIMIT) {
        rest = '';
        if (!socket.write(`ERR a request of more than ${LINE_LIMIT} bytes\n`)) await drained(socket);
      }
    }
  } catch {
    // A reset connection is QEMU's end; whoever watches the machine reports it.
  }
}

/** A guest that asks and never reads our answers is not read either. */
function drained(socket: Socket): Promise<void> {
  if (socket.destroyed || !socket.writableNeedDrain) return Promise.resolve();
  return new Promise((resolve) => {
    const done = () => {
      socket.off('drain', done);
      socket.off('close', done);
      resolve();
    };
    socket.on('drain', done);
    socket.on('close', done);
  });
}

async function answer(line: string, onMark: (request: MarkRequest) => Promise<void>): Promise<string> {
  const request = parseMarkRequest(line);
  if (typeof request === 'string') return `ERR ${request}\n`;
  try {
    await onMark(request);
    return 'OK\n';
  } catch (error) {
    return `ERR ${messageOf(error).replaceAll('\n', ' ').slice(0, 400)}\n`;
  }
}
