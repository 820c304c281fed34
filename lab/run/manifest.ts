// SPDX-License-Identifier: MIT
/**
 * run.json: everything that went into a run and everything that is known of
 * its outcome. Sequence numbers and nanoseconds are decimal strings, because a
 * JSON number loses digits above 2^53. It is replaced as a whole, never edited:
 * a reader sees the old one or the new one.
 */
import { open, rename, rm } from 'node:fs/promises';
import { z } from 'zod';
import { ioError, LabError, systemCodeOf } from '../util/errors.js';
import { openRegular } from '../util/regular-file.js';
import { witnessSchema } from './witness.js';

const decimal = z.string().regex(/^\d+$/, 'wanted a decimal string');
const sha256 = z.string().regex(/^[0-9a-f]{64}$/, 'wanted 64 hexadecimal digits');

const checkpoint = z.object({
  /** `start` is the one every rebuild begins at. */
  name: z.string(),
  /** Effects up to and including this number are already in the disk. */
  seq: decimal,
  /** Internal snapshot of disk/disk.qcow2, or null: the image as it was before power-on. */
  snapshot: z.string().nullable(),
  /** Of the image's raw file, for a checkpoint without a snapshot. */
  sha256: sha256.optional(),
});

const mark = z.object({
  label: z.string(),
  /** Sequence number of the MARK record: the disk holds every effect before it. */
  seq: decimal,
  realNs: decimal,
  snapshot: z.string(),
});

const image = z.object({ kind: z.string(), digest: z.string(), raw: z.string() });

/** What reading, rebuilding and verifying need, wherever the record came from. */
const commonSchema = z.object({
  format: z.literal(1),
  name: z.string(),
  /** ISO time of the host. */
  created: z.string(),
  /**
   * recording: still going on, or this program was killed; complete: ended in order; torn: cut off, usable up to
   * its last record; failed: never came to the point of recording.
   */
  state: z.enum(['recording', 'complete', 'torn', 'failed']),
  /** The disk that the checkpoints are of; null: nobody has said which. */
  image: image.nullable(),
  checkpoints: z.array(checkpoint),
  marks: z.array(mark),
  /** The guest's disk at its end, with all its snapshots; null while the guest runs and after a torn run. */
  disk: z.object({ sha256: sha256.nullable() }),
  trace: z.object({
    segments: z.number().int().nonnegative(),
    bytes: z.number().int().nonnegative(),
    subbufs: z.number().int().nonnegative(),
    /** Bytes of an unfinished sub-buffer at the very end. */
    tornBytes: z.number().int().nonnegative(),
  }),
  /** Counts of the witness, of a complete run that had one. */
  witness: witnessSchema.optional(),
  /** Of a debug flavour: what the kernel's checkers found; none is what should be. */
  kernelReports: z.array(z.object({ kind: z.string(), text: z.string() })).optional(),
  /** What the guest or the receiver complained of, and why a run is torn or failed. */
  problems: z.array(z.string()),
});

/** A run that `record` made. */
export const runManifestSchema = commonSchema.extend({
  config: z.string(),
  flavour: z.enum(['n', 'm', 'y', 'debug', 'debug-m', 'traceable', 'vanilla']),
  kernel: z.object({ digest: z.string(), release: z.string(), bzImage: z.string() }),
  image,
  initramfs: z.object({ sha256 }),
  smp: z.number().int().positive(),
  memoryMiB: z.number().int().positive(),
  kernelArgs: z.array(z.string()),
  qemuArgs: z.array(z.string()),
  accelerator: z.enum(['kvm', 'tcg']).nullable(),
  acceleratorWhy: z.string(),
  qemuVersion: z.string().nullable(),
  command: z.array(z.string()),
  copyIn: z.array(z.object({ source: z.string(), destination: z.string() })),
  /** Of the command; null while it has none. */
  exitStatus: z.number().int().nullable(),
  timedOut: z.boolean(),
  seconds: z.object({ boot: z.number().nullable(), command: z.number().nullable(), total: z.number().nullable() }),
  /** Of a record that came by relay and by socket: sub-buffers that are the same, and of the relay alone after its end. */
  bothWays: z.object({ same: z.number().int(), afterEnd: z.number().int() }).optional(),
});

/** A boot of a machine, as a logging server received it. */
export const receivedManifestSchema = commonSchema.extend({
  received: z.object({
    machine: z.string(),
    /** As in the headers of the sub-buffers: 16 hexadecimal digits. */
    boot: z.string().regex(/^[0-9a-f]{16}(-[a-z]+)?$/, 'wanted 16 hexadecimal digits, and perhaps a category'),
    cpus: z.number().int().positive(),
    /** Of the storage point, likewise. */
    server: z.string().regex(/^[0-9a-f]{16}$/, 'wanted 16 hexadecimal digits'),
    /** Of each CPU, how many sub-buffers it made, for this server and others; when the machine has said its end. */
    made: z.record(decimal, decimal).optional(),
    /** Records that the machine declared lost, as far as it was here when it was put away. */
    dropped: decimal.optional(),
    /** Another history of the boot has come, and was refused: how that showed. Nothing more was taken since. */
    forked: z.string().optional(),
  }),
});

/** base.json: which disk a received boot began with, and up to which effect it holds them. */
const baseSchema = commonSchema.pick({ checkpoints: true }).extend({ image });

export type RunManifest = z.infer<typeof runManifestSchema>;
export type ReceivedManifest = z.infer<typeof receivedManifestSchema>;
export type AnyManifest = RunManifest | ReceivedManifest;
export type CheckpointEntry = z.infer<typeof checkpoint>;
export type MarkEntry = z.infer<typeof mark>;

/** A run that `record` made, and no boot that a server received. */
export function isRecorded(manifest: AnyManifest): manifest is RunManifest {
  return 'config' in manifest;
}

/** Checks a parsed run.json; what does not fit is LAB_RUN_CORRUPT with the path of each fault. */
export function parseManifest(value: unknown, file: string): AnyManifest {
  const isReceived = typeof value === 'object' && value !== null && 'received' in value;
  const result = isReceived ? receivedManifestSchema.safeParse(value) : runManifestSchema.safeParse(value);
  return checked<AnyManifest>(result, "a run's manifest", file);
}

function checked<T>(result: z.ZodSafeParseResult<T>, what: string, file: string): T {
  if (result.success) return result.data;
  const faults = result.error.issues.slice(0, 5).map((issue) => `${issue.path.join('.') || '(top)'}: ${issue.message}`);
  throw new LabError('LAB_RUN_CORRUPT', `${file} is not ${what} of format 1: ${faults.join('; ')}`, {
    next: 'it may come from another version of this program, or have been edited',
  });
}

/** Reads run.json; undefined if there is none. */
export async function readManifest(file: string): Promise<AnyManifest | undefined> {
  const value = await readJson(file);
  return value === undefined ? undefined : parseManifest(value, file);
}

/** What a server received, with the disk that somebody has named since. */
export async function withBase(manifest: ReceivedManifest, file: string): Promise<ReceivedManifest> {
  const value = await readJson(file);
  if (value === undefined) return manifest;
  return { ...manifest, ...checked(baseSchema.safeParse(value), 'base.json', file) };
}

/** Undefined if the file is not there. */
async function readJson(file: string): Promise<unknown> {
  let text: string | undefined;
  try {
    const handle = await openRegular(file);
    text = await handle?.readFile('utf8').finally(() => handle.close());
  } catch (error) {
    if (systemCodeOf(error) === 'ENOENT' || systemCodeOf(error) === 'ENOTDIR') return undefined;
    throw ioError(`reading ${file}`, error);
  }
  if (text === undefined) throw new LabError('LAB_RUN_CORRUPT', `${file} is no regular file`);
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new LabError('LAB_RUN_CORRUPT', `${file} is not JSON`, { cause: error });
  }
}

/** Writes a draft, syncs it, and puts it in place of the old one. */
export async function writeAtomically(file: string, text: string, mode = 0o666): Promise<void> {
  const draft = `${file}.draft`;
  try {
    const handle = await open(draft, 'w', mode);
    try {
      await handle.writeFile(text);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(draft, file);
  } catch (error) {
    await rm(draft, { force: true }).catch(() => {});
    throw ioError(`writing ${file}`, error);
  }
}

export async function writeManifest(file: string, manifest: AnyManifest): Promise<void> {
  await writeAtomically(file, `${JSON.stringify(parseManifest(manifest, file), null, 2)}\n`);
}
