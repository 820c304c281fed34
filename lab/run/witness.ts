// SPDX-License-Identifier: MIT
/**
 * The witness outside the guest: what QEMU's emulator executed, against what
 * the record holds.
 *
 *   executed = before + refused + recorded + declared lost + exempt
 *
 *   executed   system-call instructions, up to the kernel's account
 *   before     of those, before records began
 *   refused    of those, answered by the processor with an exception: no calls
 *   recorded   ENTRY records
 *   lost       entries that the kernel says it dropped
 *   exempt     calls of exempt tasks that the kernel counted
 *
 * It has to come out for each entry of the kernel by itself. The file of
 * counts is written by lab/vm/plugins/witness.c, which draws its layout.
 */
import { readFile } from 'node:fs/promises';
import { z } from 'zod';
import type { Account } from '../trace/account.js';
import { accountRun } from '../trace/account.js';
import { type ByEntry, CallCounter, type RecordedCalls } from '../trace/call-account.js';
import { indexRun } from '../trace/run-index.js';
import { ioError, LabError } from '../util/errors.js';

/** What `record` needs to load the witness. */
export interface WitnessParts {
  /** The plugin's shared object. */
  readonly plugin: string;
  /** Addresses of the kernel's entry points, hexadecimal, by the names of the plugin's arguments. */
  readonly entryPoints: Readonly<Record<EntryPoint, string>>;
}

export const ENTRY_POINTS = {
  entry64: 'entry_SYSCALL_64',
  syscall32: 'entry_SYSCALL_compat',
  sysenter: 'entry_SYSENTER_compat',
  int80: 'asm_int80_emulation',
} as const;

export type EntryPoint = keyof typeof ENTRY_POINTS;

/** The counters of the file, in order. */
const COUNTERS = ['syscall', 'sysenter', 'int80', 'entry64', 'entrySyscall32', 'entrySysenter', 'entryInt80'] as const;
type Counter = (typeof COUNTERS)[number];

const MAGIC = 'LMNAWIT1';
/** Of one sample: how often its instant came, then eight counters. */
const SAMPLE_BYTES = 9 * 8;
const HEADER_BYTES = MAGIC.length + 2 * SAMPLE_BYTES;

const decimal = z.string().regex(/^\d+$/);
const sampleSchema = z.object({
  /** How often the instant came; the counts are of the last one. */
  times: decimal,
  counts: z.object(Object.fromEntries(COUNTERS.map((name) => [name, decimal])) as Record<Counter, typeof decimal>),
});

/** As it stands in run.json: all counters when records began, and when the kernel took its account. */
export const witnessSchema = z.object({ began: sampleSchema, accounted: sampleSchema });
export type WitnessCounts = z.infer<typeof witnessSchema>;
type Sample = z.infer<typeof sampleSchema>;

/** Parses the plugin's file; LAB_RUN_CORRUPT if it is none. Pure. */
export function parseWitnessFile(bytes: Buffer, file: string): WitnessCounts {
  if (bytes.length < HEADER_BYTES || bytes.toString('latin1', 0, MAGIC.length) !== MAGIC) {
    throw new LabError('LAB_RUN_CORRUPT', `${file} is not what the witness writes (${bytes.length} bytes)`);
  }
  const sample = (at: number): Sample => ({
    times: bytes.readBigUInt64LE(at).toString(),
    counts: Object.fromEntries(
      COUNTERS.map((name, index) => [name, bytes.readBigUInt64LE(at + 8 + 8 * index).toString()]),
    ) as Sample['counts'],
  });
  return { began: sample(MAGIC.length), accounted: sample(MAGIC.length + SAMPLE_BYTES) };
}

export async function readWitnessFile(file: string): Promise<WitnessCounts> {
  try {
    return parseWitnessFile(await readFile(file), file);
  } catch (error) {
    throw ioError(`reading the witness's counts from ${file}`, error);
  }
}

/** One entry of the kernel: what arrived there since records began, and where it is accounted for. */
export interface EntryEquation {
  readonly name: string;
  readonly arrived: bigint;
  readonly recorded: bigint;
  readonly lost: bigint;
  readonly exempt: bigint;
  /** Calls that nothing accounts for; negative: more are accounted for than were made. */
  readonly unexplained: bigint;
}

/** One instruction, since records began. */
export interface InstructionCount {
  readonly name: string;
  readonly executed: bigint;
  readonly refused: bigint;
}

export interface WitnessVerdict {
  readonly executed: bigint;
  readonly before: bigint;
  readonly refused: bigint;
  readonly recorded: bigint;
  readonly lost: bigint;
  readonly exempt: bigint;
  readonly unexplained: bigint;
  readonly entries: readonly EntryEquation[];
  readonly instructions: readonly InstructionCount[];
  /** Why the equation does not hold, or cannot be stated; empty: it holds. */
  readonly faults: readonly string[];
}

const INSTRUCTIONS: readonly { readonly name: Counter; readonly arrivals: readonly Counter[] }[] = [
  { name: 'syscall', arrivals: ['entry64', 'entrySyscall32'] },
  { name: 'sysenter', arrivals: ['entrySysenter'] },
  { name: 'int80', arrivals: ['entryInt80'] },
];

const ENTRIES: readonly { readonly name: string; readonly of: keyof ByEntry; readonly arrivals: readonly Counter[] }[] =
  [
    { name: '64-bit', of: 'entry64', arrivals: ['entry64'] },
    { name: '32-bit', of: 'ia32', arrivals: ['entrySyscall32', 'entrySysenter', 'entryInt80'] },
  ];

function total(values: readonly bigint[]): bigint {
  return values.reduce((sum, value) => sum + value, 0n);
}

/** Does the sums. Pure. */
export function judgeWitness(
  counts: WitnessCounts,
  calls: RecordedCalls,
  account: Pick<Account, 'dropped' | 'elsewhere' | 'isHonest'>,
): WitnessVerdict {
  const { began, accounted } = counts;
  const since = (names: readonly Counter[]) =>
    total(names.map((name) => BigInt(accounted.counts[name]) - BigInt(began.counts[name])));
  const none: ByEntry = { entry64: 0n, ia32: 0n };
  const { exempt, lost } = calls.account ?? { exempt: none, lost: none };
  const entries = ENTRIES.map(({ name, of, arrivals }) => {
    const row = { name, arrived: since(arrivals), recorded: calls.recorded[of], lost: lost[of], exempt: exempt[of] };
    return { ...row, unexplained: row.arrived - row.recorded - row.lost - row.exempt };
  });
  const instructions = INSTRUCTIONS.map(({ name, arrivals }) => {
    const executed = since([name]);
    return { name, executed, refused: executed - since(arrivals) };
  });
  const sum = (of: 'recorded' | 'lost' | 'exempt') => total(entries.map((entry) => entry[of]));
  const executed = total(INSTRUCTIONS.map(({ name }) => BigInt(accounted.counts[name])));
  const before = total(INSTRUCTIONS.map(({ name }) => BigInt(began.counts[name])));
  const refused = total(instructions.map((row) => row.refused));
  const verdict = { executed, before, refused, recorded: sum('recorded'), lost: sum('lost'), exempt: sum('exempt') };
  const unexplained = executed - before - refused - verdict.recorded - verdict.lost - verdict.exempt;
  return { ...verdict, unexplained, entries, instructions, faults: faultsOf() };

  function faultsOf(): string[] {
    // The calls that are elsewhere are not counted here.
    if (account.elsewhere > 0n) return ['this is the part of one category: merge it with the others first'];
    const faults: string[] = [];
    if (began.times !== '1') faults.push(`records began ${began.times} times, wanted once`);
    if (calls.account === undefined) faults.push('the record ends without an account of the calls it leaves out');
    else if (accounted.times !== calls.account.number.toString()) {
      faults.push(`the witness saw ${accounted.times} accounts taken, the record's is number ${calls.account.number}`);
    }
    for (const { name, unexplained } of entries) {
      if (unexplained > 0n) faults.push(`${name} calls: ${unexplained} were executed that nothing accounts for`);
      if (unexplained < 0n) faults.push(`${name} calls: ${-unexplained} more are accounted for than were executed`);
    }
    for (const { name, refused } of instructions) {
      if (refused < 0n) faults.push(`${name}: ${-refused} calls arrived in the kernel without an instruction`);
    }
    if (verdict.lost > account.dropped) {
      faults.push(`${verdict.lost} entries are said to be lost, but only ${account.dropped} records were`);
    }
    if (!account.isHonest) faults.push('records are missing that were not declared lost');
    return faults;
  }
}

/** Reads the record and does the sums. */
export async function witnessVerdict(
  runDir: string,
  counts: WitnessCounts,
  signal?: AbortSignal,
): Promise<WitnessVerdict> {
  const counter = new CallCounter();
  const index = await indexRun(runDir, {
    visit: (bytes, header) => counter.observe(bytes, header),
    ...(signal ? { signal } : {}),
  });
  try {
    return judgeWitness(counts, counter.calls, await accountRun(runDir, index, signal));
  } finally {
    await index.close();
  }
}

/** The equation, the sums of each entry, and what is wrong, as lines. Pure. */
export function witnessLines(verdict: WitnessVerdict): string[] {
  const { executed, before, refused, recorded, lost, exempt, unexplained } = verdict;
  const rest = (count: bigint) => (count === 0n ? '' : ` + ${count} UNEXPLAINED`);
  return [
    `witness: ${executed} executed = ${before} before the record + ${refused} refused by the processor + ` +
      `${recorded} recorded + ${lost} declared lost + ${exempt} exempt${rest(unexplained)}`,
    ...verdict.entries.map(
      (entry) =>
        `witness: ${entry.name}: ${entry.arrived} arrived = ${entry.recorded} recorded + ${entry.lost} declared lost + ` +
        `${entry.exempt} exempt${rest(entry.unexplained)}`,
    ),
    ...verdict.instructions
      .filter(({ executed: times }) => times > 0n)
      .map(({ name, executed: times, refused: no }) => `witness: ${name}: ${times} executed, ${no} refused`),
    ...verdict.faults.map((fault) => `witness: DOES NOT HOLD: ${fault}`),
  ];
}
