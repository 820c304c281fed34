// SPDX-License-Identifier: MIT
/** Counts of a run: by kind, by effect, by system call, and the account of what was issued, recorded and lost. */
import { AT, FLAG, KIND, KIND_NAMES, OP_NAMES } from '../abi/layout.js';
import { type EffectParts, parseEffect } from '../abi/syscall-row.js';
import { abiOf, syscallName, syscallRow } from '../abi/syscalls.js';
import { type Account, accountRun } from './account.js';
import { indexRun } from './run-index.js';
import type { SegmentProblem } from './segment-reader.js';
import type { SubbufHeader } from './subbuf.js';
import { walkRecords } from './walk.js';

export interface CountRow {
  readonly name: string;
  readonly count: number;
  readonly bytes: number;
}

export interface SyscallCount {
  readonly name: string;
  readonly abi: '64' | 'ia32' | 'x32';
  readonly entries: number;
  readonly exits: number;
  readonly denied: number;
  /** What the call means for a rebuilt filesystem. */
  readonly fs: EffectParts['kind'];
}

export interface RunStats {
  readonly account: Account;
  readonly kinds: readonly CountRow[];
  readonly ops: readonly CountRow[];
  readonly syscalls: readonly SyscallCount[];
  readonly bytes: number;
  readonly subbufs: number;
  /** Wall clock of the first and last sub-buffer's base, ns since 1970; undefined for an empty run. */
  readonly firstRealNs: bigint | undefined;
  readonly lastRealNs: bigint | undefined;
  readonly problems: readonly SegmentProblem[];
}

class Counter {
  readonly #rows = new Map<number, { count: number; bytes: number }>();
  add(key: number, bytes: number): void {
    const row = this.#rows.get(key);
    if (row) {
      row.count++;
      row.bytes += bytes;
    } else this.#rows.set(key, { count: 1, bytes });
  }
  rows(name: (key: number) => string): CountRow[] {
    return [...this.#rows].sort(([a], [b]) => a - b).map(([key, row]) => ({ name: name(key), ...row }));
  }
}

/** Counts records by what they are. */
class RecordCounter {
  readonly #kinds = new Counter();
  readonly #ops = new Counter();
  readonly #calls = new Map<number, { entries: number; exits: number; denied: number }>();

  observe(bytes: Buffer, header: SubbufHeader): void {
    walkRecords(bytes, header, (buf, off, size, kind) => {
      this.#kinds.add(kind, size);
      const code = buf.readUInt16LE(off + AT.lemona_rec.code);
      if (kind === KIND.EFFECT) this.#ops.add(code, size);
      else if (kind === KIND.ENTRY || kind === KIND.EXIT)
        this.#addCall(code, buf.readUInt16LE(off + AT.lemona_rec.flags), kind === KIND.EXIT);
    });
  }

  #addCall(nr: number, flags: number, isExit: boolean): void {
    const key = (flags & FLAG.F_ABI_MASK) * 65536 + nr;
    let row = this.#calls.get(key);
    if (!row) {
      row = { entries: 0, exits: 0, denied: 0 };
      this.#calls.set(key, row);
    }
    if (isExit) row.exits++;
    else {
      row.entries++;
      if (flags & FLAG.F_DENIED) row.denied++;
    }
  }

  get counts(): Pick<RunStats, 'kinds' | 'ops' | 'syscalls'> {
    return {
      kinds: this.#kinds.rows((k) => KIND_NAMES[k] ?? `kind ${k}`),
      ops: this.#ops.rows((o) => OP_NAMES[o] ?? `opcode ${o}`),
      syscalls: [...this.#calls]
        .map(([key, row]) => {
          const abi = abiOf(key >>> 16);
          const nr = key & 0xffff;
          const fs = parseEffect(syscallRow(nr, abi)?.effect ?? 'none').kind;
          return { name: syscallName(nr, abi), abi, ...row, fs };
        })
        .sort((a, b) => b.entries - a.entries || (a.name < b.name ? -1 : 1)),
    };
  }
}

/** Reads a run and counts everything in it; `knownSeq` as `accountRun` has it. */
export async function statsOf(runDir: string, signal?: AbortSignal, knownSeq = 0n): Promise<RunStats> {
  const counter = new RecordCounter();
  const index = await indexRun(runDir, {
    visit: (bytes, header) => counter.observe(bytes, header),
    ...(signal ? { signal } : {}),
  });
  try {
    const { bytes, subbufs, firstRealNs, lastRealNs } = index.totals;
    const account = await accountRun(runDir, index, signal, knownSeq);
    return { account, ...counter.counts, bytes, subbufs, firstRealNs, lastRealNs, problems: index.problems };
  } finally {
    await index.close();
  }
}
