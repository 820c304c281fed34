// SPDX-License-Identifier: MIT
/**
 * The system calls of a record, by the entry of the kernel they came through, and what the kernel says it left out: the
 * account that it takes at the end, as lines of an INFO record.
 */
import { AT, FLAG, KIND, SIZE } from '../abi/layout.js';
import type { RunIndex } from './run-index.js';
import { segmentsFolder } from './run-index.js';
import { readSegments } from './segment-reader.js';
import { walkRecords } from './walk.js';

/** Counts by entry; x32 calls come through the 64-bit one. */
export interface ByEntry {
  readonly entry64: bigint;
  readonly ia32: bigint;
}

/** The kernel's account of calls that are in no record. */
export interface CallAccount {
  /** Counts the accounts of a boot, from 1. */
  readonly number: bigint;
  /** Made by exempt tasks. */
  readonly exempt: ByEntry;
  /** Of the records declared lost, those that were entries. */
  readonly lost: ByEntry;
}

export interface RecordedCalls {
  /** ENTRY records. */
  readonly recorded: ByEntry;
  /** The last one; undefined: none was taken, or it did not arrive. */
  readonly account: CallAccount | undefined;
}

/** Takes an account from an INFO record's text; undefined if it holds none. Pure. */
export function parseCallAccount(text: string): CallAccount | undefined {
  const lines = new Map(
    text.split('\n').map((line) => {
      const equals = line.indexOf('=');
      return [line.slice(0, equals), line.slice(equals + 1)] as const;
    }),
  );
  const number = (key: string): bigint => {
    const value = lines.get(key) ?? '';
    return /^\d{1,19}$/.test(value) ? BigInt(value) : 0n;
  };
  if (number('account') === 0n) return undefined;
  return {
    number: number('account'),
    exempt: { entry64: number('exempt_calls'), ia32: number('exempt_calls_ia32') },
    lost: { entry64: number('lost_calls'), ia32: number('lost_calls_ia32') },
  };
}

/** Reads a run once more; only sub-buffers that the index found good count. */
export async function countCalls(runDir: string, index: RunIndex, signal?: AbortSignal): Promise<RecordedCalls> {
  const good = new Set(index.entries.map((e) => `${e.segment}:${e.offset}`));
  let entry64 = 0n;
  let ia32 = 0n;
  let account: CallAccount | undefined;
  for await (const item of readSegments(segmentsFolder(runDir))) {
    signal?.throwIfAborted();
    if (item.type !== 'subbuf' || !good.has(`${item.segment}:${item.offset}`)) continue;
    walkRecords(item.bytes, item.header, (buf, off, size, kind) => {
      if (kind === KIND.ENTRY) {
        const abi = buf.readUInt16LE(off + AT.lemona_rec.flags) & FLAG.F_ABI_MASK;
        if (abi === FLAG.F_ABI_IA32) ia32++;
        else entry64++;
      } else if (kind === KIND.INFO) {
        const found = parseCallAccount(buf.toString('latin1', off + SIZE.lemona_info, off + size).replace(/\0+$/, ''));
        if (found !== undefined && found.number > (account?.number ?? 0n)) account = found;
      }
    });
  }
  return { recorded: { entry64, ia32 }, account };
}
