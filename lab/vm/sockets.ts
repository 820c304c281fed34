// SPDX-License-Identifier: MIT
/**
 * Unix sockets that QEMU connects to. We listen before it starts, each socket
 * takes one connection, and the folder is ours alone (mode 0700).
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { type Deferred, deferred } from '../util/deadline.js';
import { ioError, LabError } from '../util/errors.js';

/** `sun_path` holds 108 bytes, the closing NUL included. */
const SUN_PATH_LIMIT = 107;

/** mkdtemp adds six letters; the longest socket name we use must fit behind them. */
function folderPrefix(names: readonly string[]): string {
  const longest = Math.max(0, ...names.map((name) => Buffer.byteLength(name)));
  for (const base of [tmpdir(), '/tmp']) {
    const prefix = path.join(base, 'lemona-');
    if (Buffer.byteLength(prefix) + 6 + 1 + longest <= SUN_PATH_LIMIT) return prefix;
  }
  throw new LabError('LAB_BUG', `sockets: a name of ${longest} bytes does not fit a Unix socket's path`);
}

interface Listener {
  readonly server: Server;
  readonly connection: Deferred<Socket>;
}

export class SocketFolder {
  readonly folder: string;
  readonly #listeners = new Map<string, Listener>();
  readonly #sockets: Socket[] = [];

  private constructor(folder: string) {
    this.folder = folder;
  }

  /** Makes the folder and listens on one socket for each name. */
  static async listen(names: readonly string[]): Promise<SocketFolder> {
    let folder: string;
    try {
      folder = await mkdtemp(folderPrefix(names));
    } catch (error) {
      throw ioError('making a folder for sockets', error);
    }
    const sockets = new SocketFolder(folder);
    try {
      for (const name of names) await sockets.#listen(name);
    } catch (error) {
      await sockets.close();
      throw ioError(`listening on a socket in ${folder}`, error);
    }
    return sockets;
  }

  path(name: string): string {
    return path.join(this.folder, name);
  }

  /** QEMU's end of the socket, paused: whoever uses it resumes it. */
  connection(name: string): Promise<Socket> {
    const listener = this.#listeners.get(name);
    if (listener === undefined) throw new LabError('LAB_BUG', `sockets: no socket is named '${name}'`);
    return listener.connection.promise;
  }

  /** Names nobody has connected to yet. */
  unconnected(): string[] {
    return [...this.#listeners].filter(([, { server }]) => server.listening).map(([name]) => name);
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    for (const [name, { server, connection }] of this.#listeners) {
      if (server.listening) server.close();
      connection.reject(new LabError('LAB_VM_NO_CONNECT', `socket '${name}' was closed before QEMU connected`));
    }
    await rm(this.folder, { recursive: true, force: true });
  }

  async #listen(name: string): Promise<void> {
    const connection = deferred<Socket>();
    // Paused: a byte read before the consumer is there would be lost.
    const server = createServer({ pauseOnConnect: true }, (socket) => {
      server.close();
      this.#sockets.push(socket);
      // A reset at QEMU's death is its exit's news; the consumer adds its own listener.
      socket.on('error', () => {});
      connection.resolve(socket);
    });
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(this.path(name), resolve);
    });
    this.#listeners.set(name, { server, connection });
  }
}
