// SPDX-License-Identifier: MIT
/** Counts of a run: by kind, by effect, by system call, and the account of what was issued, recorded and lost. */
import { AT, FLAG, KIND, KIND_NAMES, OP_NAMES } from '../abi/layout.js';
import { type EffectParts, parseEffect } from '../abi/syscall-row.js';
import { abiOf, syscallName, syscallRow } from '../abi/syscalls.js';
import { type Account, accountRun } from './account.js';
import { indexRun, segmentsFolder } from './run-index.js';
import { readSegments, type SegmentProblem } from './segment-reader.js';
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

/** Reads a run and counts everything in it. */
export async function statsOf(runDir: string, signal?: AbortSignal): Promise<RunStats> {
  const index = await indexRun(runDir, signal);
  const account = await accountRun(runDir, index, signal);
  const good = new Set(index.entries.map((e) => `${e.segment}:${e.offset}`));
  const kinds = new Counter();
  const ops = new Counter();
  const calls = new Map<number, { entries: number; exits: number; denied: number }>();
  for await (const item of readSegments(segmentsFolder(runDir))) {
    signal?.throwIfAborted();
    if (item.type !== 'subbuf' || !good.has(`${item.segment}:${item.offset}`)) continue;
    walkRecords(item.bytes, item.header, (buf, off, size, kind) => {
      kinds.add(kind, size);
      const code = buf.readUInt16LE(off + AT.lemona_rec.code);
      if (kind === KIND.EFFECT) ops.add(code, size);
      else if (kind === KIND.ENTRY || kind === KIND.EXIT) {
        const flags = buf.readUInt16LE(off + AT.lemona_rec.flags);
        const key = (flags & FLAG.F_ABI_MASK) * 65536 + code;
        let row = calls.get(key);
        if (!row) {
          row = { entries: 0, exits: 0, denied: 0 };
          calls.set(key, row);
        }
        if (kind === KIND.EXIT) row.exits++;
        else {
          row.entries++;
          if (flags & FLAG.F_DENIED) row.denied++;
        }
      }
    });
  }
  const real = index.entries.map((e) => e.realNs);
  return {
    account,
    kinds: kinds.rows((k) => KIND_NAMES[k] ?? `kind ${k}`),
    ops: ops.rows((o) => OP_NAMES[o] ?? `opcode ${o}`),
    syscalls: [...calls]
      .map(([key, row]) => {
        const abi = abiOf(key >>> 16);
        const nr = key & 0xffff;
        return { name: syscallName(nr, abi), abi, ...row, fs: parseEffect(syscallRow(nr, abi)?.effect ?? 'none').kind };
      })
      .sort((a, b) => b.entries - a.entries || (a.name < b.name ? -1 : 1)),
    bytes: index.bytes,
    subbufs: index.entries.length,
    firstRealNs: real.reduce<bigint | undefined>((min, ns) => (min === undefined || ns < min ? ns : min), undefined),
    lastRealNs: real.reduce<bigint | undefined>((max, ns) => (max === undefined || ns > max ? ns : max), undefined),
    problems: index.problems,
  };
}
