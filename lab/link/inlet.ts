// SPDX-License-Identifier: MIT
/**
 * What comes from a stranger or an intake, read into one small buffer again and again. Node makes a new buffer of 64 KiB
 * for each read, which nothing collects before many megabytes of them lie about. Its `onread` avoids that, but only `new
 * Socket` takes it.
 */
import { type ConnectOpts, Socket, type SocketConstructorOpts } from 'node:net';

/** One read takes as much, at most. */
const READ_BYTES = 1024;

export interface Inlet {
  readonly socket: Socket;
  /** A chunk is good until the next one is asked for. Rejects when the connection broke. */
  readonly chunks: AsyncIterator<Buffer>;
}

/** Takes over a socket that nobody has read from (`pauseOnConnect`), which is of no further use. */
export function inletOf(taken: Socket): Inlet {
  const from = taken as unknown as { _handle: object | null };
  const handle = from._handle;
  // It has closed already.
  if (handle === null) return { socket: taken, chunks: { next: async () => ({ done: true, value: undefined }) } };
  from._handle = null;
  taken.destroy();
  const buffer = Buffer.alloc(READ_BYTES);
  let come: Buffer | undefined;
  let isOver = false;
  let wake = () => {};
  const options: SocketConstructorOpts & ConnectOpts & { readonly handle: object } = {
    handle,
    allowHalfOpen: false,
    onread: {
      buffer,
      callback: (bytes, read) => {
        come = Buffer.from(read.buffer, read.byteOffset, bytes);
        wake();
        // Reads no more before it is resumed.
        return false;
      },
    },
  };
  const socket = new Socket(options);
  let failure: Error | undefined;
  const end = () => {
    isOver = true;
    wake();
  };
  socket.once('error', (error) => {
    failure = error;
  });
  socket.once('end', end).once('close', end);
  const next = async (): Promise<IteratorResult<Buffer>> => {
    if (come === undefined && !isOver) {
      const waits = new Promise<void>((resolve) => {
        wake = resolve;
      });
      socket.resume();
      await waits;
    }
    const value = come;
    come = undefined;
    if (value === undefined && failure !== undefined) throw failure;
    return value === undefined ? { done: true, value } : { done: false, value };
  };
  return { socket, chunks: { next } };
}
