// SPDX-License-Identifier: MIT
/**
 * The logging server of one run: takes the record of one boot of one guest, over the guest's only network connection,
 * into a folder of segments. The machine is enrolled by being started; its key is drawn for the run.
 */
import { randomBytes } from 'node:crypto';
import { WIRE_KEY_BYTES } from '../abi/wire.js';
import { BootStore, Gate } from '../link/boot-store.js';
import { type BootId, type BootKeeper, bootName } from '../link/boots.js';
import { MODE, type StreamEnds } from '../link/wire.js';
import { type WireEvent, type WireLimits, WireServer } from '../link/wire-server.js';
import type { SegmentWriterOptions } from '../trace/segment-writer.js';
import { deferred } from '../util/deadline.js';
import { LabError } from '../util/errors.js';

/** What every guest of the lab is called. */
export const MACHINE = 'guest';

export interface SocketTotals {
  readonly segments: number;
  readonly bytes: number;
  readonly subbufs: number;
}

/** Where the driver's socket backend leads to. */
export interface SocketReceiver {
  /** On the host's loopback. */
  readonly port: number;
  readonly key: Buffer;
  /** Settles when the driver has said that no more will come, and all is on the disk. Rejects if that can't be. */
  readonly ended: Promise<void>;
  /** Grows while the guest sends. */
  readonly receivedBytes: number;
  readonly totals: SocketTotals;
  /** Ends it. Safe to call twice. */
  close(): Promise<void>;
}

export interface SocketReceiverOptions extends Pick<SegmentWriterOptions, 'onSealed'> {
  readonly folder: string;
  readonly isEncrypted: boolean;
  /** Of WireServerOptions. */
  readonly intake: string;
  readonly onEvent: (event: WireEvent) => void;
  /** Instead of one that is drawn. */
  readonly key?: Buffer;
  readonly limits?: Partial<WireLimits>;
}

const NONE: SocketTotals = { segments: 0, bytes: 0, subbufs: 0 };

class RunKeeper implements BootKeeper {
  readonly ended = deferred<void>();
  readonly #options: SocketReceiverOptions;
  #boot: string | undefined;
  #store: BootStore | undefined;

  constructor(options: SocketReceiverOptions) {
    this.#options = options;
    this.ended.promise.catch(() => {});
  }

  get totals(): SocketTotals {
    return this.#store?.totals ?? NONE;
  }

  /** A run has one record: another boot, or the other part of the same one, would be written over it. */
  async open(id: BootId): Promise<BootStore> {
    const boot = bootName(id);
    this.#boot ??= boot;
    if (this.#boot !== boot)
      throw new LabError('LAB_LINK_PROTOCOL', `${boot} wants to send, and ${this.#boot} is here`);
    const { folder, onSealed } = this.#options;
    this.#store = await BootStore.open({
      folder,
      ...(onSealed === undefined ? {} : { onSealed }),
      now: () => BigInt(Date.now()) * 1_000_000n,
      syncGate: new Gate(1),
    });
    return this.#store;
  }

  closed(_id: BootId, _store: BootStore, ends: StreamEnds | undefined): Promise<boolean> {
    if (ends !== undefined) this.ended.resolve();
    return Promise.resolve(true);
  }
}

/** Listens for the guest. */
export async function listenForGuest(options: SocketReceiverOptions): Promise<SocketReceiver> {
  const key = options.key ?? randomBytes(WIRE_KEY_BYTES);
  const keeper = new RunKeeper(options);
  const modes = [options.isEncrypted ? MODE.NOISE : MODE.PLAIN];
  const server = await WireServer.listen({
    host: '127.0.0.1',
    port: 0,
    serverId: randomBytes(8).readBigUInt64LE(),
    findMachine: (name) => Promise.resolve(name === MACHINE ? { key, modes } : undefined),
    keeper,
    intake: options.intake,
    ...(options.limits === undefined ? {} : { limits: options.limits }),
    onEvent: (event) => {
      options.onEvent(event);
      // A run does not wait for somebody to make room.
      if (event.event === 'disk full') {
        keeper.ended.reject(
          new LabError('LAB_ENV_DISK_FULL', `the record could not be kept in ${options.folder}: no space left`, {
            next: 'free some space, or choose another folder with --runs',
          }),
        );
      }
    },
  });
  return {
    port: server.port,
    key,
    ended: keeper.ended.promise,
    get receivedBytes() {
      return keeper.totals.bytes;
    },
    get totals() {
      return keeper.totals;
    },
    close: () => server.close(),
  };
}
