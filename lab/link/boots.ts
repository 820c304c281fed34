// SPDX-License-Identifier: MIT
/**
 * The boots that a server has open. A boot has one connection at a time: a new one that has shown the key takes the
 * place of the old, which may be half open. A boot that nobody is connected for is sealed and closed after a while.
 */
import type { Category } from '../trace/parts.js';
import { LabError } from '../util/errors.js';
import { type BootStore, Gate } from './boot-store.js';
import { STATUS, type StatusName, type StreamEnds, type Streams } from './wire.js';

export interface BootId {
  readonly machine: string;
  readonly bootId: bigint;
  /** Of the parts that are sent; undefined: whole sub-buffers. They are kept apart, for their numbers are the same. */
  readonly category?: Category | undefined;
}

/** As people see it: 16 hexadecimal digits, and the category. */
export function bootName({ bootId, category }: Omit<BootId, 'machine'>): string {
  return `${bootId.toString(16).padStart(16, '0')}${category === undefined ? '' : `-${category}`}`;
}

/** Whoever keeps the segments: a storage point on disk, or the folder of one run. */
export interface BootKeeper {
  /** Opens what is there of a boot, or begins it. */
  open(id: BootId, cpus: number): Promise<BootStore>;
  /** The store was closed; `ends`: the machine said that nothing more will come. False: that could not be noted. */
  closed(id: BootId, store: BootStore, ends: StreamEnds | undefined): Promise<boolean>;
  /** The store failed and could not be opened again: nothing is kept open for it any more. */
  lost?(id: BootId): Promise<void>;
  /** Keeps in mind that the boot has two histories: `open` gives a store that says so from now on. */
  forked?(id: BootId, why: string): Promise<void>;
}

/** The connection of a boot. */
export interface BootOwner {
  /** Ends it; `done` settles when it touches the store no more. */
  refuse(status: (typeof STATUS)[StatusName]): void;
  readonly done: Promise<void>;
}

export interface Boot extends BootId {
  readonly key: string;
  readonly cpus: number;
  /** Undefined while it is being opened, and after its disk failed. */
  store: BootStore | undefined;
  owner: BootOwner | undefined;
  /** Of the frame END, if nothing came after it. */
  ends: StreamEnds | undefined;
  /** How another history of it showed, until that is noted: nobody can note it while there is no store. */
  forked: string | undefined;
  /** Connections that have it or wait for it: while there are any, it is not forgotten. */
  claims: number;
  idle: NodeJS.Timeout | undefined;
  readonly turn: Gate;
}

export class Boots {
  readonly #keeper: BootKeeper;
  readonly #idleMs: number;
  readonly #boots = new Map<string, Boot>();

  constructor(keeper: BootKeeper, idleMs: number) {
    this.#keeper = keeper;
    this.#idleMs = idleMs;
  }

  get open(): Iterable<Boot> {
    return this.#boots.values();
  }

  /** Makes `owner` the connection of a boot; the one before it is ended first. */
  async claim(id: BootId, cpus: number, owner: BootOwner): Promise<Boot> {
    const key = `${id.machine}/${bootName(id)}`;
    let boot = this.#boots.get(key);
    if (boot === undefined) {
      const fresh = {
        store: undefined,
        owner: undefined,
        ends: undefined,
        forked: undefined,
        claims: 0,
        idle: undefined,
        turn: new Gate(1),
      };
      boot = { ...id, key, cpus, ...fresh };
      this.#boots.set(key, boot);
    }
    const found = boot;
    found.claims++;
    clearTimeout(found.idle);
    found.idle = undefined;
    await found.turn.run(async () => {
      const before = found.owner;
      before?.refuse(STATUS.REPLACED);
      await before?.done;
      found.owner = owner;
      try {
        if (found.store?.failure !== undefined) await this.#closeStore(found);
        if (found.store === undefined) await this.#open(found);
        else await found.store.flush();
      } catch (error) {
        found.owner = undefined;
        found.claims--;
        await this.#close(found);
        throw error;
      }
    });
    return found;
  }

  async #open(boot: Boot): Promise<BootStore> {
    const store = await this.#keeper.open(boot, boot.cpus);
    boot.store = store;
    await this.#noteFork(boot);
    return store;
  }

  /**
   * Opens a store again that failed. What its connection had appended must still be there: else it would acknowledge
   * what is gone, so it has to end.
   */
  async reopen(boot: Boot, reached: Streams): Promise<void> {
    await this.#closeStore(boot);
    const store = await this.#open(boot);
    for (const [cpu, next] of reached) {
      if ((store.reached.get(cpu) ?? 0n) < next)
        throw new LabError('LAB_ENV_IO', `${boot.key}: CPU ${cpu} had come to ${next}, and is cut back on the disk`);
    }
  }

  /** Another history of the boot has come: nothing more is taken of either, so that both stay what they are. */
  async fork(boot: Boot, why: string): Promise<void> {
    boot.forked ??= why;
    await this.#noteFork(boot);
  }

  async #noteFork(boot: Boot): Promise<void> {
    const { store, forked } = boot;
    if (forked === undefined || store === undefined) return;
    if (!store.isEnded) {
      store.forked ??= forked;
      await this.#keeper.forked?.(boot, forked);
    }
    boot.forked = undefined;
  }

  /**
   * The connection is over. A boot that has ended is closed before this resolves; others stay open for a while.
   *
   * @returns whether its record is sealed, and will have no more
   */
  async release(boot: Boot, owner: BootOwner): Promise<boolean> {
    boot.claims--;
    if (boot.owner !== owner) return false;
    boot.owner = undefined;
    if (boot.store === undefined || boot.store.failure !== undefined || boot.ends !== undefined)
      return this.#closeInTurn(boot);
    boot.idle = setTimeout(() => void this.#closeInTurn(boot), this.#idleMs);
    return false;
  }

  async #closeInTurn(boot: Boot): Promise<boolean> {
    return boot.turn.run(async () => boot.owner === undefined && this.#close(boot));
  }

  async #close(boot: Boot): Promise<boolean> {
    clearTimeout(boot.idle);
    const { store, ends } = boot;
    // There may be space by now.
    await this.#noteFork(boot).catch(() => {});
    const isWhole = await this.#closeStore(boot);
    // Whoever claims it meanwhile waits for its turn: its chain is still being written.
    const isNoted = store !== undefined && (await this.#keeper.closed(boot, store, ends));
    if (store === undefined) await this.#keeper.lost?.(boot);
    boot.ends = undefined;
    // What could not be noted yet, the next one to claim it notes.
    if (boot.claims === 0 && boot.forked === undefined) this.#boots.delete(boot.key);
    return ends !== undefined && isWhole && isNoted;
  }

  /** @returns false: what it could not seal, whoever opens it next goes on with */
  async #closeStore(boot: Boot): Promise<boolean> {
    const { store } = boot;
    boot.store = undefined;
    return (
      store?.close().then(
        () => true,
        () => false,
      ) ?? true
    );
  }

  /** Seals and closes all; the connections must be over. */
  async close(): Promise<void> {
    await Promise.all([...this.#boots.values()].map((boot) => this.#closeInTurn(boot)));
  }
}
