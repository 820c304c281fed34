// SPDX-License-Identifier: MIT
/**
 * What boot tests share: a folder for the runs of one test, which is removed
 * if it passed and kept, with one command to reproduce it, if it failed.
 */
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { PassThrough } from 'node:stream';
import { ROOT } from '../../lab/cli/invocation.js';
import type { IMAGES } from '../../lab/cli/table.js';
import { recordParts, replayVm } from '../../lab/parts/parts.js';
import { witnessParts } from '../../lab/parts/witness.js';
import { findConfig } from '../../lab/run/configs.js';
import { sha256File } from '../../lab/run/digest.js';
import { openRun } from '../../lab/run/folder.js';
import { lastMarkSeq } from '../../lab/run/marks.js';
import { recordRun } from '../../lab/run/record.js';
import type { ImageArtifact, RecordOptions, RecordResult } from '../../lab/run/record-options.js';
import { statsOf } from '../../lab/trace/stats.js';
import { defaultCacheDir, defaultDataDir, type LabContext } from '../../lab/util/context.js';
import { stderrLog } from '../../lab/util/log.js';
import { silentProgress, stderrProgress } from '../../lab/util/progress.js';
import { type VerifyRunResult, verifyRun } from '../../replay/verify.js';
import { sh } from './sh.js';

const RUNS = path.join(ROOT, 'tmp/boot-tests');

export type GuestOptions = Partial<Omit<RecordOptions, 'runDir' | 'kernel' | 'image' | 'witness'>> & {
  readonly image?: (typeof IMAGES)[number];
  /** Changes a copy of the image, which is booted instead. */
  readonly tune?: (raw: string) => Promise<void>;
  /** Of the traced file system, beside the usual ones; the script ends with 98 if they do not hold. */
  readonly mountOptions?: string;
  /** Count system calls outside the guest. */
  readonly isWitnessed?: boolean;
  /** A kernel with all its checkers. */
  readonly isDebug?: boolean;
};

export interface Bench {
  readonly ctx: LabContext;
  readonly folder: string;
  /** Records a shell script in a new run and returns it with what the guest printed. */
  record(name: string, script: string, options?: GuestOptions): Promise<RecordResult & { readonly output: string }>;
  runDir(name: string): string;
  /** Strict: names and attributes are compared after every operation. */
  verify(name: string, options?: { readonly strict?: boolean }): Promise<VerifyRunResult>;
}

/** All marks of a run, with the differences spelled out: what a failed test should show. */
export function describeVerdict(result: VerifyRunResult): string {
  return result.marks
    .flatMap((mark) =>
      mark.first.slice(0, 10).map((d) => `${mark.mark}: ${d.path}: ${d.field}: ${d.rebuilt} / ${d.truth}`),
    )
    .join('\n');
}

/** Where a test's random choices come from; LEMONA_SEED repeats them. */
export function testSeed(): number {
  seedUsed ??= chooseSeed();
  return seedUsed;
}

/** Of the seeds that a test ran, the one to repeat. */
export function blameSeed(seed: number): void {
  seedUsed = seed;
}

/** Of the test that runs. */
let seedUsed: number | undefined;

function chooseSeed(): number {
  const given = Number(process.env.LEMONA_SEED);
  return Number.isSafeInteger(given) && given > 0 ? given : Math.floor(Math.random() * 1_000_000) + 1;
}

/** A new bench for each test of the surrounding `describe`, or one for all of them. */
export function useBench(scope: 'test' | 'suite' = 'test'): () => Bench {
  let bench: Bench | undefined;
  let abort = new AbortController();

  const open = async () => {
    await mkdir(RUNS, { recursive: true });
    const folder = await mkdtemp(path.join(RUNS, 'run-'));
    abort = new AbortController();
    seedUsed = undefined;
    const ctx: LabContext = {
      log: stderrLog('warn'),
      progress: silentProgress,
      signal: abort.signal,
      cacheDir: defaultCacheDir(),
      dataDir: defaultDataDir(),
      runsDir: folder,
    };
    const runDir = (name: string) => path.join(folder, name);
    bench = {
      ctx,
      folder,
      runDir,
      async record(name, script, options = {}) {
        const {
          image = 'tiny',
          config = 'static-relay',
          tune,
          mountOptions,
          isWitnessed = false,
          isDebug = false,
          ...rest
        } = options;
        // A kernel that has to be built takes minutes, which should be seen.
        const visible = { ...ctx, progress: stderrProgress() };
        const parts = await recordParts(findConfig(config), image, isDebug, visible);
        const file = path.join(folder, `${name}.sh`);
        await writeFile(file, mountOptions === undefined ? script : `${checkMount(mountOptions)}\n${script}`);
        const stdout = new PassThrough();
        let output = '';
        stdout.on('data', (chunk: Buffer) => {
          output += chunk.toString('utf8');
        });
        const result = await recordRun(
          {
            ...parts,
            ...(tune === undefined
              ? {}
              : { image: await tunedImage(parts.image, path.join(folder, `${name}.raw`), tune) }),
            ...(isWitnessed ? { witness: await witnessParts(parts.kernel, visible) } : {}),
            runDir: runDir(name),
            config,
            command: ['sh', '/root/test.sh'],
            ...rest,
            kernelArgs: [
              ...(rest.kernelArgs ?? []),
              ...(mountOptions === undefined ? [] : [`lemona.rootflags=rw,relatime,${mountOptions}`]),
            ],
            copyIn: [{ source: file, destination: '/root/test.sh' }, ...(rest.copyIn ?? [])],
            stdout,
            stderr: rest.stderr ?? stdout,
          },
          ctx,
        );
        return { ...result, output };
      },
      verify: async (name, options = {}) => {
        const vm = await replayVm(runDir(name), ctx);
        return verifyRun({ runDir: runDir(name), allMarks: true, vm: () => Promise.resolve(vm), ...options }, ctx);
      },
    };
  };

  const close = async (test: Mocha.Runnable | Mocha.Suite | undefined, hasFailed: boolean) => {
    // Ends guests of a test that timed out.
    abort.abort();
    if (bench === undefined) return;
    if (hasFailed) {
      process.stderr.write(`    kept: ${bench.folder}\n`);
      const seed = seedUsed === undefined ? '' : `LEMONA_SEED=${seedUsed} `;
      const group = path.basename(path.dirname(test?.file ?? 'boot/'));
      // Of a regular expression first, then of a shell.
      const title = (test?.fullTitle() ?? '').replace(/[\\^$*+?()[\]{}|]/g, '\\$&').replaceAll("'", "'\\''");
      process.stderr.write(`    reproduce: ${seed}./lemona test ${group} --grep '${title}'\n`);
    } else {
      await rm(bench.folder, { recursive: true, force: true });
    }
    bench = undefined;
  };

  if (scope === 'test') {
    beforeEach(open);
    afterEach(async function () {
      const test = this.currentTest;
      if (test !== undefined) await close(test, test.state === 'failed');
    });
  } else {
    before(open);
    after(async function () {
      const suite = this.test?.parent;
      const hasFailed = suite?.tests.some((test) => test.state !== 'passed') ?? true;
      await close(suite, hasFailed);
    });
  }

  return () => {
    if (bench === undefined) throw new Error('the bench is there only within a test');
    return bench;
  };
}

/** The kernel tells of an option that is not its default. */
function checkMount(options: string): string {
  return `grep -q ' / ext4 .*[, ]${options}' /proc/mounts || { grep ' / ext4' /proc/mounts; exit 98; }`;
}

async function tunedImage(
  image: ImageArtifact,
  raw: string,
  tune: (raw: string) => Promise<void>,
): Promise<ImageArtifact> {
  await sh`cp --sparse=always ${image.raw} ${raw}`;
  await tune(raw);
  return { kind: image.kind, digest: await sha256File(raw), raw };
}

/** Everything issued is here, nothing was lost. */
export async function accountOf(runDir: string): Promise<Awaited<ReturnType<typeof statsOf>>['account']> {
  const { manifest } = await openRun(runDir);
  return (await statsOf(runDir, undefined, lastMarkSeq(manifest.marks))).account;
}

/** The process ids of QEMUs whose arguments name a folder: of one test's guests, and no others. */
export async function qemusOf(folder: string): Promise<number[]> {
  const found: number[] = [];
  for (const name of await readdir('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    const words = (await readFile(`/proc/${name}/cmdline`, 'latin1').catch(() => '')).split('\0');
    if (words[0]?.includes('qemu-system') === true && words.some((word) => word.includes(folder)))
      found.push(Number(name));
  }
  return found;
}
