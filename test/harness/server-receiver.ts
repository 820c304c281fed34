// SPDX-License-Identifier: MIT
/** A logging server behind a link that fails, in the place of the receiver of a run. */
import { copyFile, mkdir, readdir } from 'node:fs/promises';
import path from 'node:path';
import { readManifest } from '../../lab/run/manifest.js';
import { MACHINE, type SocketReceiver, type SocketTotals } from '../../lab/run/socket-receiver.js';
import { pollUntil } from '../../lab/util/deadline.js';
import type { ServerProcess } from '../support/server-process.js';
import type { FaultyLink } from './faulty-link.js';

/** From the beginning of the run. */
const END_MS = 3_000_000;

/** Where a server keeps the boots of the lab's guests. */
export function bootsOf(server: ServerProcess): string {
  return path.join(server.dir, 'machines', MACHINE, 'boots');
}

/** The folder of the one boot that a server took; undefined: none has come yet. */
export async function bootOf(server: ServerProcess): Promise<string | undefined> {
  const [name, ...more] = await readdir(bootsOf(server)).catch(() => []);
  if (more.length > 0) throw new Error(`${server.dir}: one boot was expected, ${more.length + 1} are there`);
  return name === undefined ? undefined : path.join(bootsOf(server), name);
}

/** The receiver of a run; what the server has is copied into the run's folder in the end. */
export function receiverOf(server: ServerProcess, key: Buffer, link: FaultyLink, folder: string): SocketReceiver {
  let totals: SocketTotals = { segments: 0, bytes: 0, subbufs: 0 };
  let isClosed = false;
  const readRun = async () => {
    const dir = await bootOf(server);
    return dir === undefined ? undefined : readManifest(path.join(dir, 'run.json'));
  };
  const hasEnded = async () => (isClosed || (await readRun())?.state === 'complete' ? true : undefined);
  let ended: Promise<void> | undefined;
  return {
    port: link.port,
    key,
    get ended() {
      ended ??= pollUntil(hasEnded, {
        label: "the record's end at the server",
        timeoutMs: END_MS,
        intervalMs: 200,
      }).then(() => {});
      return ended;
    },
    get receivedBytes() {
      return link.bytes;
    },
    get totals() {
      return totals;
    },
    async close() {
      if (isClosed) return;
      isClosed = true;
      await server.stop();
      const dir = await bootOf(server);
      const manifest = await readRun();
      if (dir === undefined || manifest === undefined) return;
      const { segments, bytes, subbufs } = manifest.trace;
      totals = { segments, bytes, subbufs };
      await mkdir(folder, { recursive: true });
      const from = path.join(dir, 'segments');
      for (const name of await readdir(from)) await copyFile(path.join(from, name), path.join(folder, name));
    },
  };
}
