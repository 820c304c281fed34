// SPDX-License-Identifier: MIT
/**
 * The whole main job on real input: record, lose the disk, find the instant
 * before the destruction in the record, rebuild, prove, recover what was deleted.
 */
import { createHash } from 'node:crypto';
import { readFile, rm, stat } from 'node:fs/promises';
import path from 'node:path';
import type { Writable } from 'node:stream';
import { reconstruct } from '../../replay/reconstruct.js';
import { type Difference, verifyImages } from '../../replay/verify.js';
import { heldByRoot } from '../parts/base-names.js';
import { recordParts, replayVm } from '../parts/parts.js';
import { runTool } from '../proc/tool.js';
import { findConfig } from '../run/configs.js';
import { openRun } from '../run/folder.js';
import { isRecorded, type RunManifest } from '../run/manifest.js';
import { lastMarkSeq } from '../run/marks.js';
import { recordRun } from '../run/record.js';
import { exportTruth } from '../run/truth.js';
import { indexRun } from '../trace/run-index.js';
import { type RunStats, statsOf } from '../trace/stats.js';
import { displayBytes } from '../trace/text.js';
import type { LabContext } from '../util/context.js';
import { LabError, messageOf } from '../util/errors.js';
import { withStep } from '../util/progress.js';
import { analyse } from './analyse.js';
import type { DeletedFile, Destruction, Story } from './story.js';

/** Fixed: the same names, secrets and numbers in every demo. */
export const SEED = 20261;
const GUEST_FOLDER = '/opt/demo';
/** A deleted file longer than this is shown by its beginning. */
const READ_LIMIT_BYTES = 1024 * 1024;

export interface DemoOptions {
  readonly runDir: string;
  readonly smp: number;
  /** Keep the run and the rebuilt disk. */
  readonly keep: boolean;
  /** Replace a complete run of that name; an incomplete one is left over from an interrupted demo. */
  readonly force: boolean;
  /** Where the guest's own words go. */
  readonly stdout: Writable;
}

export interface RecoveredFile {
  readonly path: string;
  readonly sizeBytes: number;
  readonly content: Buffer;
  readonly sha256: string;
  /** The rebuilt disk and the record alone gave the same bytes; undefined: the record alone could not tell. */
  readonly agrees: boolean | undefined;
}

export interface DemoResult {
  readonly runDir: string;
  readonly seed: number;
  readonly manifest: RunManifest;
  readonly stats: RunStats;
  readonly story: Story;
  readonly destruction: Destruction;
  readonly mark: { readonly label: string; readonly seq: bigint };
  readonly thrownAwayBytes: number;
  readonly rebuilt: {
    readonly seq: bigint;
    readonly effects: bigint;
    readonly bytes: bigint;
    readonly isVouchedFor: boolean;
  };
  readonly verdict: {
    readonly isEqual: boolean;
    readonly compared: number;
    readonly bytes: bigint;
    readonly differences: number;
    readonly first: readonly Difference[];
  };
  readonly recovered: readonly RecoveredFile[];
  /** Names of the users, by the rebuilt disk's own /etc/passwd. */
  readonly users: ReadonlyMap<number, string>;
  /** The instant the deleted files were read at. */
  readonly recoveredAt: bigint | undefined;
  readonly seconds: {
    readonly record: number;
    readonly rebuild: number;
    readonly verify: number;
    readonly total: number;
  };
}

/** Records the day; a guest that died of its own disk is the sudden end it was meant to have. */
async function recordDay(options: DemoOptions, ctx: LabContext): Promise<RunManifest> {
  const config = findConfig('static-relay');
  const parts = await recordParts(config, 'debian', false, ctx);
  const left = await openRun(options.runDir).catch(() => undefined);
  try {
    const { manifest } = await recordRun(
      {
        ...parts,
        runDir: options.runDir,
        config: config.name,
        smp: options.smp,
        command: ['bash', `${GUEST_FOLDER}/run.sh`, String(SEED)],
        copyIn: [{ source: path.join(import.meta.dirname, 'guest'), destination: GUEST_FOLDER }],
        force: options.force || left?.manifest.state !== 'complete',
        stdout: options.stdout,
        stderr: process.stderr,
      },
      ctx,
    );
    return manifest;
  } catch (error) {
    if (ctx.signal.aborted) throw error;
    const run = await openRun(options.runDir).catch(() => undefined);
    if (run?.manifest.state !== 'torn' || !isRecorded(run.manifest)) throw error;
    ctx.log.info(`the guest did not survive the loss of its disk: ${messageOf(error)}`);
    return run.manifest;
  }
}

/** Reads files of an ext4 image without mounting it. */
async function readFromImage(image: string, name: string, signal: AbortSignal): Promise<Buffer | undefined> {
  const copy = `${image}.file`;
  try {
    // debugfs has its own quoting: a name in double quotes, a quote in it doubled.
    const request = `dump "${name.replaceAll('"', '""')}" "${copy}"`;
    await runTool(['debugfs', '-f', '-', image], { input: `${request}\n`, signal });
    const content = await readFile(copy).catch(() => undefined);
    return content === undefined || content.length > READ_LIMIT_BYTES ? undefined : content;
  } finally {
    await rm(copy, { force: true });
  }
}

/**
 * User names by number, harmless for a terminal (an intruder may have written the file); the first line of several
 * wins, as it does for the system. Pure.
 *
 * @param passwd bytes as Latin-1
 */
export function usersOf(passwd: string): Map<number, string> {
  const users = new Map<number, string>();
  for (const line of passwd.split('\n')) {
    const [name, , uid] = line.split(':');
    if (name === undefined || name === '' || uid === undefined || !/^\d+$/.test(uid)) continue;
    if (!users.has(Number(uid))) users.set(Number(uid), displayBytes(Buffer.from(name, 'latin1')));
  }
  return users;
}

/** Rebuilds the disk as it was just before the first deletion, and reads the deleted files there. */
async function recover(
  files: readonly DeletedFile[],
  rebuild: (at: bigint, output: string) => Promise<void>,
  work: string,
  signal: AbortSignal,
): Promise<{ readonly at: bigint; readonly files: readonly RecoveredFile[] }> {
  // The last spree: files of earlier ones were not all there at one instant.
  const last = files.at(-1);
  const spree = files.filter((file) => file.pid === last?.pid);
  const at = (spree[0]?.seq ?? 1n) - 1n;
  const image = path.join(work, 'before-deletion.raw');
  try {
    await rebuild(at, image);
    const recovered: RecoveredFile[] = [];
    for (const file of spree) {
      const content = await readFromImage(image, file.path, signal);
      if (content === undefined) continue;
      recovered.push({
        path: file.path,
        sizeBytes: content.length,
        content,
        sha256: createHash('sha256').update(content).digest('hex'),
        agrees: file.content === undefined ? undefined : file.content.equals(content),
      });
    }
    return { at, files: recovered };
  } finally {
    await rm(image, { force: true });
  }
}

/** Runs the demo; what it made is removed unless `keep`, or unless it failed: then the run is there to be looked at. */
export async function runDemo(options: DemoOptions, ctx: LabContext): Promise<DemoResult> {
  const { runDir } = options;
  // Set-up is not part of the job's own time; a cold one takes many minutes.
  await recordParts(findConfig('static-relay'), 'debian', false, ctx);
  const startedMs = performance.now();
  const done: string[] = [];
  let isDone = false;
  try {
    const manifest = await recordDay(options, ctx);
    const run = await openRun(runDir);
    const vm = await replayVm(runDir, ctx);

    const story = await withStep(ctx.progress, 'reading the record', async () => {
      const root = await heldByRoot(run, ctx);
      const index = await indexRun(runDir, { signal: ctx.signal });
      try {
        return await analyse(runDir, index, root, ctx.signal);
      } finally {
        await index.close();
      }
    });
    const { destruction } = story;
    if (destruction?.mark === undefined) {
      throw new LabError(
        'LAB_CHECK_FAILED',
        `the record shows no mark followed by the destruction of the disk; the guest's script ended with ${manifest.exitStatus}`,
        { next: `./lemona events ${path.basename(runDir)} --op TAINT --op MARK shows what there is` },
      );
    }
    const { mark } = destruction;

    // The oracle is saved; then the guest's disk goes, and nothing of it is used below.
    const truth = path.join(runDir, 'truth.raw');
    done.push(truth);
    await withStep(ctx.progress, 'saving the oracle, throwing the disk away', async () => {
      await exportTruth(run, `mark:${mark.label}`, truth, ctx);
    });
    const thrownAwayBytes = (await stat(run.diskFile)).size;
    await rm(run.diskFile);

    const rebuild = (at: string, output: string) =>
      reconstruct({ runDir, at, output, format: 'raw', vm: () => Promise.resolve(vm) }, ctx);
    const rebuiltRaw = path.join(runDir, 'rebuilt.raw');
    if (!options.keep) done.push(rebuiltRaw);
    const rebuilt = await rebuild(`seq:${mark.seq}`, rebuiltRaw);
    const verdict = await withStep(ctx.progress, 'comparing with the oracle', () =>
      verifyImages(rebuiltRaw, truth, ctx),
    );

    const passwd = await readFromImage(rebuiltRaw, '/etc/passwd', ctx.signal);
    let recovered: Awaited<ReturnType<typeof recover>> | undefined;
    const before = story.deleted.filter((file) => file.seq < mark.seq);
    if (before.length > 0) {
      recovered = await recover(
        before,
        async (at, output) => {
          await rebuild(`seq:${at}`, output);
        },
        runDir,
        ctx.signal,
      );
    }
    const stats = await withStep(ctx.progress, 'counting', () =>
      statsOf(runDir, ctx.signal, lastMarkSeq(manifest.marks)),
    );
    const { command, boot } = manifest.seconds;
    isDone = true;
    return {
      runDir,
      seed: SEED,
      manifest,
      stats,
      story,
      destruction,
      mark,
      thrownAwayBytes,
      rebuilt: {
        seq: rebuilt.seq,
        effects: rebuilt.effects,
        bytes: rebuilt.bytes,
        isVouchedFor: rebuilt.isVouchedFor,
      },
      verdict: {
        isEqual: verdict.isEqual,
        compared: verdict.compared,
        bytes: verdict.bytes.truth,
        differences: verdict.differences,
        first: verdict.first.slice(0, 20),
      },
      recovered: recovered?.files ?? [],
      users: usersOf(passwd?.toString('latin1') ?? ''),
      recoveredAt: recovered?.at,
      seconds: {
        // Without a command's own end, the whole run is what it took.
        record: command === null ? (manifest.seconds.total ?? 0) : command + (boot ?? 0),
        rebuild: rebuilt.seconds.total,
        verify: verdict.seconds,
        total: (performance.now() - startedMs) / 1000,
      },
    };
  } finally {
    for (const file of done) await rm(file, { force: true });
    if (isDone && !options.keep) await rm(runDir, { recursive: true, force: true });
  }
}
