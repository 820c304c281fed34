// SPDX-License-Identifier: MIT
/** The receiver as a program: a storage point, its port, its log and its status. */
import { createServer } from 'node:net';
import { bootName } from '../link/boots.js';
import { MODE, STATUS } from '../link/wire.js';
import { WireServer } from '../link/wire-server.js';
import type { WireSession } from '../link/wire-session.js';
import { LabError, messageOf, systemCodeOf } from '../util/errors.js';
import { withScope } from '../util/scope.js';
import { PointKeeper } from './keeper.js';
import { ServerLog } from './log.js';
import { findMachine, makePoint, openPoint } from './point.js';
import { Rates } from './rates.js';
import { type ServerStatus, serveStatus } from './status.js';

export interface ServeOptions {
  readonly dir: string;
  /** The storage point is made if there is none: else a mistyped folder is an error. */
  readonly mayMake: boolean;
  /** Of the lab's key, which signs what is kept, and of its witness. */
  readonly dataDir: string;
  readonly host: string;
  readonly port: number;
  /** Of WireServerOptions. */
  readonly intake: string;
  readonly signal: AbortSignal;
  readonly write: (line: string) => void;
  readonly now: () => Date;
}

const SAMPLE_MS = 1000;
/** V8 takes a cipher's context for a few bytes, and would let tens of megabytes of them lie about. */
const COLLECT_MS = 5000;

function senderOf(session: WireSession, rate: number, nowMs: number): ServerStatus['senders'][number] {
  const { driver } = session;
  return {
    machine: session.id.machine,
    boot: bootName(session.id),
    address: session.address,
    mode: session.mode === MODE.PLAIN ? 'plain' : 'noise',
    connectedSeconds: Math.round((nowMs - session.sinceMs) / 1000),
    bytes: session.bytes,
    bytesPerSecond: Math.round(rate),
    subbufs: session.subbufs,
    queued: driver?.queued ?? null,
    issued: driver?.issued.toString() ?? null,
    dropped: driver?.dropped.toString() ?? null,
    connects: driver?.connects.toString() ?? null,
    refusals: driver?.refusals.toString() ?? null,
    disk: session.status === STATUS.DISK_FULL ? 'full' : 'ok',
  };
}

/** Whether one can listen there; whoever listens there just now may be the server of the same folder, which says so. */
async function tryAddress(host: string, port: number): Promise<void> {
  const probe = createServer();
  await new Promise<void>((resolve, reject) => {
    probe.once('error', (error) => {
      if (systemCodeOf(error) === 'EADDRINUSE') resolve();
      else
        reject(
          new LabError('LAB_USAGE', `--listen: nobody can listen on ${host}:${port} here: ${messageOf(error)}`, {
            cause: error,
            next: 'name an address of this machine, such as 0.0.0.0, and a port that you may take',
          }),
        );
    });
    probe.listen(port, host, () => probe.close(() => resolve()));
  });
}

/** Serves until the signal is given; then all that is open is sealed. */
export async function serve(options: ServeOptions): Promise<void> {
  const { signal, now } = options;
  const startedMs = now().getTime();
  // First: a mistyped address leaves nothing behind.
  await tryAddress(options.host, options.port);
  const log = new ServerLog(options.write, now);
  const point = options.mayMake ? await makePoint(options.dir) : { ...(await openPoint(options.dir)), isNew: false };
  if (point.isNew) log.line({ event: 'made', server: point.server, folder: point.dir });
  const rates = new Rates<WireSession>();
  await withScope(async (scope) => {
    const keeper = new PointKeeper({
      folder: point,
      server: point.server,
      dataDir: options.dataDir,
      now,
      onEvent: (event, id, detail) => log.line({ event, machine: id.machine, boot: bootName(id), detail }),
    });
    let wire: WireServer | undefined;
    const status = (): ServerStatus => ({
      format: 1,
      server: point.server,
      port: wire?.port ?? 0,
      upSeconds: Math.round((now().getTime() - startedMs) / 1000),
      rssBytes: process.memoryUsage.rss(),
      openings: wire?.openings ?? 0,
      refusals: Object.fromEntries(wire?.refusals ?? []),
      senders: [...(wire?.sessions ?? [])].map((s) => senderOf(s, rates.of(s), now().getTime())),
    });
    // First: it also makes sure that we are alone in the folder.
    scope.use('the status socket', await serveStatus(point, status), (server) => server.close());
    wire = scope.use(
      'the port',
      await WireServer.listen({
        host: options.host,
        port: options.port,
        serverId: BigInt(`0x${point.server}`),
        findMachine: (name) => findMachine(point, name),
        keeper,
        intake: options.intake,
        onEvent: (event) => (event.event === 'refused' ? log.stranger(event) : log.line(event)),
      }),
      (server) => server.close(),
    );
    const open = wire;
    const sampler = setInterval(() => {
      for (const session of open.sessions) rates.sample(session, session.bytes, now().getTime());
    }, SAMPLE_MS);
    scope.defer('the sampler', () => clearInterval(sampler));
    // The launcher exposes it.
    const collector = setInterval(() => globalThis.gc?.(), COLLECT_MS);
    scope.defer('the collector', () => clearInterval(collector));
    log.line({ event: 'listening', server: point.server, host: options.host, port: wire.port });
    if (!signal.aborted)
      await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
    log.line({ event: 'stopping' });
  });
}
