// SPDX-License-Identifier: MIT
/**
 * A sender as fast as it goes: makes ready what will go over the wire, has `cat` send it to a port, and prints how long
 * that took. To a receiver it opens a connection first, and the time ends with the last acknowledgement; anything else
 * is just written to.
 *
 *   wire-flood.ts FRAMES PORT raw
 *   wire-flood.ts FRAMES PORT plain|noise MACHINE KEY BOOT CPUS SUBBUFS
 *
 * Beside FRAMES, a file of frames, there must be room for as much again.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createReadStream } from 'node:fs';
import { open, rm } from 'node:fs/promises';
import { connect, type Socket } from 'node:net';
import { MODE, type Streams } from '../../lab/link/wire.js';
import { SimConnection } from './sim-driver.js';

const CHUNK_BYTES = 1024 * 1024;

/** Sends a file by a process that does nothing else. */
async function send(file: string, socket: Socket): Promise<void> {
  const source = await open(file);
  const cat = spawn('cat', { stdio: [source.fd, socket, 'inherit'] });
  // Node stops reading from a socket that it gives to a child.
  socket.read(0);
  await source.close();
  const [status] = (await once(cat, 'exit')) as [number | null];
  if (status !== 0) throw new Error(`cat ended with status ${status}`);
}

/** What the connection makes of the frames, as one file. */
async function seal(frames: string, connection: SimConnection): Promise<string> {
  const sealed = `${frames}.sealed`;
  const out = await open(sealed, 'w');
  const messages: Buffer[] = [];
  connection.tap = (some) => {
    messages.push(...some);
    return [];
  };
  for await (const chunk of createReadStream(frames, { highWaterMark: CHUNK_BYTES }) as AsyncIterable<Buffer>) {
    await connection.write(chunk);
    await out.appendFile(Buffer.concat(messages.splice(0)));
  }
  await out.close();
  return sealed;
}

/** @returns seconds */
async function main(argv: readonly string[]): Promise<number> {
  const [frames = '', port = '', mode = '', machine = '', key = '', boot = '', cpus = '', subbufs = ''] = argv;
  if (mode === 'raw') {
    const socket = connect({ port: Number(port), host: '127.0.0.1', noDelay: true });
    await once(socket, 'connect');
    const began = performance.now();
    await send(frames, socket);
    // Reads to the other side's end, which comes when all is taken.
    socket.resume().end();
    await once(socket, 'close');
    return (performance.now() - began) / 1000;
  }
  const connection = await SimConnection.open({
    ...{ port: Number(port), machine, key: Buffer.from(key, 'hex'), bootId: BigInt(`0x${boot}`), cpus: Number(cpus) },
    mode: mode === 'plain' ? MODE.PLAIN : MODE.NOISE,
  });
  const sealed = await seal(frames, connection);
  const done = new Promise<void>((resolve, reject) => {
    connection.onAck = (streams: Streams) => {
      if ((streams.get(0) ?? 0n) === BigInt(subbufs)) resolve();
    };
    void connection.closed.then((why) => reject(new Error(`the server left: ${why ?? 'without a word'}`)));
  });
  const began = performance.now();
  await Promise.all([send(sealed, connection.socket), done]);
  const seconds = (performance.now() - began) / 1000;
  await rm(sealed);
  return seconds;
}

process.stdout.write(`${JSON.stringify({ seconds: await main(process.argv.slice(2)) })}\n`);
process.exit(0);
