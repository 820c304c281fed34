// SPDX-License-Identifier: MIT
/** report.json: every sample of a bench, and all that is needed to do it again. */
import { z } from 'zod';
import { LabError } from '../util/errors.js';
import { BENCH_CONFIG_NAMES, type BenchConfigName } from './configs.js';

export const LANES = ['deterministic', 'parallel'] as const;
export type Lane = (typeof LANES)[number];

const kindFigures = z.object({ kind: z.string(), events: z.number(), bytes: z.number(), fixedBytes: z.number() });

const traceFigures = z.object({
  events: z.number(),
  bytes: z.number(),
  /** Without parameters: arguments, paths, buffers, written content. */
  fixedBytes: z.number(),
  /** By zstd. */
  compressedBytes: z.number(),
  compressedFixedBytes: z.number(),
  kinds: z.array(kindFigures),
  lost: z.number(),
  /** Neither recorded nor declared lost. */
  missing: z.number(),
  segments: z.number(),
  meanSegmentBytes: z.number(),
});

const databaseFigures = z.object({
  /** Rows of all tables. */
  entries: z.number(),
  /** Of its file, indexes and all. */
  bytes: z.number(),
});

const rivalFigures = z.object({
  /** Of its trace, as it is. */
  bytes: z.number(),
  /** System calls in it, whether with their return or without. */
  calls: z.number(),
  /** As the recorder itself counts what it lost: events or records. */
  lost: z.number(),
});

const span = z.object({
  label: z.string(),
  /** What costs are divided by. */
  units: z.number(),
  /** By the guest's clock; on the deterministic lane that counts instructions, and says nothing of time. */
  seconds: z.number(),
  /** Instructions; deterministic lane only. */
  user: z.number().nullable(),
  kernel: z.number().nullable(),
  /** Of the kernel's, by function. */
  functions: z.record(z.string(), z.number()),
});

const config = z.enum(BENCH_CONFIG_NAMES as [BenchConfigName, ...BenchConfigName[]]);

const cell = {
  config,
  workload: z.string(),
  lane: z.enum(LANES),
  repeat: z.number().int(),
};

const doneCell = z.object({
  ...cell,
  state: z.literal('done'),
  spans: z.array(span),
  /** Null where nothing is recorded. */
  trace: traceFigures.nullable(),
  /**
   * What took and wrote the record used while the guest ran, QEMU left out: a process of Node.js and, where the record
   * came by a socket, its intake. Memory is the most that the first held, and the largest intake, added; `vanilla`, which
   * records nothing, says how much Node.js itself is.
   */
  lab: z.object({ cpuSeconds: z.number(), writtenBytes: z.number(), peakBytes: z.number() }),
  /** The rebuilt disk against the oracle at the end; null where nothing is recorded, or it was not asked for. */
  rebuild: z.object({ isEqual: z.boolean(), differences: z.number(), compared: z.number() }).nullable(),
  /** The record in the database; null where `rebuild` is. */
  database: databaseFigures.nullable(),
  /** What another recorder left; null where none is at work. */
  rival: rivalFigures.nullable().default(null),
  /** Who executed the guest, as QEMU was told: `kvm`, or `tcg` with its threads. */
  accelerator: z.string(),
  wallSeconds: z.number(),
  /** Where its run is kept, because the record is not complete or the disk was not rebuilt exactly. */
  runDir: z.string().nullable().default(null),
});

const failedCell = z.object({
  ...cell,
  state: z.literal('failed'),
  error: z.string(),
  /** What is left of it; null: it did not come to a run. */
  runDir: z.string().nullable(),
});

export const cellSchema = z.discriminatedUnion('state', [doneCell, failedCell]);

export const optionsSchema = z.object({
  lanes: z.array(z.enum(LANES)),
  configs: z.array(config),
  workloads: z.array(z.string()),
  size: z.enum(['full', 'quick']),
  /** Of each cell of the deterministic and the parallel lane. */
  repeats: z.object({ deterministic: z.number().int().positive(), parallel: z.number().int().positive() }),
});

export const reportSchema = z.object({
  format: z.literal(1),
  created: z.string(),
  /** The command line that makes it. */
  command: z.string(),
  options: optionsSchema,
  host: z.record(z.string(), z.string()),
  /** Of the emulator's random numbers on the deterministic lane; null: none was set. */
  seed: z.number().nullable().default(null),
  /** Of everything that decides what guests do, by name. */
  digests: z.record(z.string(), z.string()),
  cells: z.array(cellSchema),
});

export type TraceFigures = z.infer<typeof traceFigures>;
export type DatabaseFigures = z.infer<typeof databaseFigures>;
export type RivalFigures = z.infer<typeof rivalFigures>;
export type KindFigures = z.infer<typeof kindFigures>;
export type SpanResult = z.infer<typeof span>;
export type DoneCell = z.infer<typeof doneCell>;
export type Cell = z.infer<typeof cellSchema>;
export type BenchOptions = z.infer<typeof optionsSchema>;
export type Report = z.infer<typeof reportSchema>;

/** Names whose values the two have both, and not the same. Pure. */
export function differing(a: Readonly<Record<string, string>>, b: Readonly<Record<string, string>>): string[] {
  return Object.keys(a).filter((name) => b[name] !== undefined && b[name] !== a[name]);
}

/** Checks a parsed report.json. */
export function parseReport(value: unknown, file: string): Report {
  const result = reportSchema.safeParse(value);
  if (result.success) return result.data;
  const faults = result.error.issues.slice(0, 3).map((issue) => `${issue.path.join('.')}: ${issue.message}`);
  throw new LabError('LAB_USAGE', `${file} is not a report of 'bench' of format 1: ${faults.join('; ')}`);
}
