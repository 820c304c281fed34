// SPDX-License-Identifier: MIT
/**
 * What comes from a connection, read into one buffer again and again. Node makes a new buffer of 64 KiB for each read,
 * which nothing collects before many megabytes of them lie about: that halves the rate of a receiver, and a hundred
 * senders have a hundred such heaps. Its `onread` avoids that, but only `new Socket` takes it.
 */
import { type ConnectOpts, Socket, type SocketConstructorOpts } from 'node:net';

/** One read takes as much, at most: of a stranger, and of who has shown a key. */
const NARROW_BYTES = 1024;
const WIDE_BYTES = 64 * 1024;

export interface Inlet {
  readonly socket: Socket;
  /** A chunk is good until the next one is asked for. Rejects when the connection broke. */
  readonly chunks: AsyncIterator<Buffer>;
  /** It is no stranger any more: reads take more from now on. */
  readonly widen: () => void;
}

/** Takes over a connection that nobody has read from (`pauseOnConnect`); `accepted` is of no further use. */
export function inletOf(accepted: Socket): Inlet {
  const from = accepted as unknown as { _handle: object | null };
  const handle = from._handle;
  // It has closed already.
  if (handle === null)
    return { socket: accepted, chunks: { next: async () => ({ done: true, value: undefined }) }, widen: () => {} };
  from._handle = null;
  accepted.destroy();
  let buffer = Buffer.alloc(NARROW_BYTES);
  let come: Buffer | undefined;
  let isOver = false;
  let wake = () => {};
  const options: SocketConstructorOpts & ConnectOpts & { readonly handle: object } = {
    handle,
    allowHalfOpen: false,
    onread: {
      // Of the next read: it is asked for when one has ended.
      buffer: () => buffer,
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
  const widen = () => {
    buffer = Buffer.alloc(WIDE_BYTES);
  };
  return { socket, chunks: { next }, widen };
}
