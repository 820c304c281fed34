// SPDX-License-Identifier: MIT
/**
 * A sender as fast as it goes, as a process of its own: sends a file of frames to a port, and prints how long it took.
 * To a receiver it opens a connection first, and waits for the last acknowledgement; to anything else it just writes.
 *
 *   wire-flood.ts FRAMES PORT raw
 *   wire-flood.ts FRAMES PORT plain|noise MACHINE KEY BOOT CPUS SUBBUFS
 */
import { once } from 'node:events';
import { createReadStream } from 'node:fs';
import { connect } from 'node:net';
import { MODE, type Streams } from '../../lab/link/wire.js';
import { SimConnection } from './sim-driver.js';

const CHUNK_BYTES = 1024 * 1024;

async function main(argv: readonly string[]): Promise<void> {
  const [file = '', port = '', mode = '', machine = '', key = '', boot = '', cpus = '', subbufs = ''] = argv;
  const frames = createReadStream(file, { highWaterMark: CHUNK_BYTES });
  if (mode === 'raw') {
    const socket = connect({ port: Number(port), host: '127.0.0.1', noDelay: true });
    await once(socket, 'connect');
    frames.pipe(socket);
    await once(socket, 'close');
    return;
  }
  const connection = await SimConnection.open({
    ...{ port: Number(port), machine, key: Buffer.from(key, 'hex'), bootId: BigInt(`0x${boot}`), cpus: Number(cpus) },
    mode: mode === 'plain' ? MODE.PLAIN : MODE.NOISE,
  });
  const done = new Promise<void>((resolve, reject) => {
    connection.onAck = (streams: Streams) => {
      if ((streams.get(0) ?? 0n) === BigInt(subbufs)) resolve();
    };
    void connection.closed.then((why) => reject(new Error(`the server left: ${why ?? 'without a word'}`)));
  });
  for await (const chunk of frames as AsyncIterable<Buffer>) await connection.write(chunk);
  await done;
}

const began = performance.now();
await main(process.argv.slice(2));
process.stdout.write(`${JSON.stringify({ seconds: (performance.now() - began) / 1000 })}\n`);
process.exit(0);
