// SPDX-License-Identifier: MIT
/**
 * The system calls of a record, by the entry of the kernel they came through, and what the kernel says it left out: the
 * account that it takes at the end, as lines of an INFO record.
 */
import { AT, FLAG, KIND, SIZE } from '../abi/layout.js';
import type { SubbufHeader } from './subbuf.js';
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

/** Counts the calls of the sub-buffers that it is shown. */
export class CallCounter {
  #entry64 = 0n;
  #ia32 = 0n;
  #account: CallAccount | undefined;

  observe(bytes: Buffer, header: SubbufHeader): void {
    walkRecords(bytes, header, (buf, off, size, kind) => {
      if (kind === KIND.ENTRY) {
        const abi = buf.readUInt16LE(off + AT.lemona_rec.flags) & FLAG.F_ABI_MASK;
        if (abi === FLAG.F_ABI_IA32) this.#ia32++;
        else this.#entry64++;
      } else if (kind === KIND.INFO) {
        const found = parseCallAccount(buf.toString('latin1', off + SIZE.lemona_info, off + size).replace(/\0+$/, ''));
        if (found !== undefined && found.number > (this.#account?.number ?? 0n)) this.#account = found;
      }
    });
  }

  get calls(): RecordedCalls {
    return { recorded: { entry64: this.#entry64, ia32: this.#ia32 }, account: this.#account };
  }
}
