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
  /** Of the kernel's, by function, the costliest ones. */
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
   * What the process that took and wrote the record used while the guest ran; QEMU is not in it. Its most memory holds
   * Node.js itself: `vanilla`, which records nothing, says how much that is.
   */
  lab: z.object({ cpuSeconds: z.number(), writtenBytes: z.number(), peakBytes: z.number() }),
  /** The rebuilt disk against the oracle at the end; null where nothing is recorded, or it was not asked for. */
  rebuild: z.object({ isEqual: z.boolean(), differences: z.number(), compared: z.number() }).nullable(),
  /** The record in the database; null where `rebuild` is. */
  database: databaseFigures.nullable(),
  /** What another recorder left; null where none is at work. */
  rival: rivalFigures.nullable().default(null),
  accelerator: z.string(),
  wallSeconds: z.number(),
});

const failedCell = z.object({
  ...cell,
  state: z.literal('failed'),
  error: z.string(),
  /** What is left of it. */
  runDir: z.string(),
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

/** Checks a parsed report.json. */
export function parseReport(value: unknown, file: string): Report {
  const result = reportSchema.safeParse(value);
  if (result.success) return result.data;
  const faults = result.error.issues.slice(0, 3).map((issue) => `${issue.path.join('.')}: ${issue.message}`);
  throw new LabError('LAB_USAGE', `${file} is not a report of 'bench' of format 1: ${faults.join('; ')}`);
}
