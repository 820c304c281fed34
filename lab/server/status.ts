// SPDX-License-Identifier: MIT
/** What a running server tells of itself: one JSON object over a Unix socket in its folder, for whoever may write there. */
import { chmod, type FileHandle, open, unlink } from 'node:fs/promises';
import { connect, createServer } from 'node:net';
import path from 'node:path';
import { z } from 'zod';
import { withDeadline } from '../util/deadline.js';
import { ioError, LabError, systemCodeOf } from '../util/errors.js';
import { toJson } from '../util/json.js';
import type { PointFolder } from './point.js';

const decimal = z.string().regex(/^\d+$/);

const senderSchema = z.object({
  machine: z.string(),
  boot: z.string(),
  address: z.string(),
  mode: z.enum(['noise', 'plain']),
  connectedSeconds: z.number(),
  bytes: z.number(),
  bytesPerSecond: z.number(),
  subbufs: z.number(),
  /** Lag: sub-buffers that wait in the machine, by its last heartbeat; null before the first. */
  queued: z.number().nullable(),
  /** Losses: records issued and dropped, likewise. */
  issued: decimal.nullable(),
  dropped: decimal.nullable(),
  connects: decimal.nullable(),
  refusals: decimal.nullable(),
  disk: z.enum(['ok', 'full']),
});

export const statusSchema = z.object({
  format: z.literal(1),
  server: z.string(),
  port: z.number(),
  upSeconds: z.number(),
  rssBytes: z.number(),
  openings: z.number(),
  refusals: z.record(z.string(), z.number()),
  senders: z.array(senderSchema),
});
export type ServerStatus = z.infer<typeof statusSchema>;

const ASK_MS = 5000;

/** A Unix socket's path has 107 bytes at most: it is named through the open folder, whose path may be longer. */
async function withShortPath<T>(folder: PointFolder, use: (file: string) => Promise<T>): Promise<T> {
  let handle: FileHandle | undefined;
  try {
    handle = await open(folder.dir, 'r');
    return await use(`/proc/self/fd/${handle.fd}/${path.basename(folder.socketFile)}`);
  } finally {
    await handle?.close();
  }
}

/** Asks the server of a storage point; undefined if none runs. */
export async function askStatus(folder: PointFolder): Promise<ServerStatus | undefined> {
  const asked = withShortPath(folder, async (file) => {
    let text = '';
    for await (const chunk of connect(file) as AsyncIterable<Buffer>) text += chunk.toString('utf8');
    return text;
  });
  let text: string;
  try {
    text = await withDeadline(asked, { label: `the server of ${folder.dir}`, timeoutMs: ASK_MS });
  } catch (error) {
    if (systemCodeOf(error) === 'ENOENT' || systemCodeOf(error) === 'ECONNREFUSED') return undefined;
    throw ioError(`asking the server of ${folder.dir}`, error);
  }
  return statusSchema.parse(JSON.parse(text));
}

/** Answers until it is closed. There is one server in a folder: a second one is told so. */
export async function serveStatus(
  folder: PointFolder,
  status: () => ServerStatus,
): Promise<{ readonly close: () => Promise<void> }> {
  if ((await askStatus(folder)) !== undefined)
    throw new LabError('LAB_RUN_STATE', `a server runs in ${folder.dir} already`, { next: 'stop it first' });
  const server = createServer((socket) => {
    socket.on('error', () => {});
    socket.end(`${toJson(status())}\n`);
  });
  await withShortPath(folder, async (file) => {
    // Left by one that was killed.
    await unlink(file).catch(() => {});
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(file, resolve);
    });
    await chmod(file, 0o600);
  }).catch((error: unknown) => {
    throw ioError(`listening on ${folder.socketFile}`, error);
  });
  return {
    // Node unlinks the name that it was given, which leads nowhere by then.
    close: async () => {
      await unlink(folder.socketFile).catch(() => {});
      server.close();
    },
  };
}
