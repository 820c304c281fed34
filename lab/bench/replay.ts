// SPDX-License-Identifier: MIT
/**
 * `bench replay`: the same work four times, all emulated, with one CPU: as it is; recorded and rebuilt by us; and recorded
 * and replayed by QEMU itself (`-icount rr=`), which executes every instruction again. QEMU's guests and the plain one
 * boot the kernel without our driver, with nothing but a disk and a console, because that is all that QEMU can replay.
 */
import { mkdir, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { gzipSync } from 'node:zlib';
import { buildKernel } from '../../guest-kernel/build.js';
import { buildImage } from '../../images/build.js';
import { S_IFCHR, S_IFDIR, S_IFREG, writeCpio } from '../../images/cpio.js';
import { buildInitramfs } from '../../images/initramfs.js';
import { readBusybox } from '../../images/tiny.js';
import { reconstruct } from '../../replay/reconstruct.js';
import { recordParts } from '../parts/parts.js';
import { Child, describeExit } from '../proc/child.js';
import { runTool } from '../proc/tool.js';
import { findConfig } from '../run/configs.js';
import { createOverlay } from '../run/disk.js';
import { recordRun } from '../run/record.js';
import type { LabContext } from '../util/context.js';
import { withDeadline } from '../util/deadline.js';
import { LabError, messageOf } from '../util/errors.js';
import { withStep } from '../util/progress.js';
import { Scope } from '../util/scope.js';
import { type BareMode, bareArgs } from './bare.js';

/** Creates, writes, renames, links and removes small files. */
export const MANY_EFFECTS = path.join(import.meta.dirname, 'guest/many-effects.c');

const MEMORY_MIB = 512;
const BEGIN = 'lemona-bench: begin';
const END = 'lemona-bench: end';
/** QEMU's own recording is several times slower than emulation; its replay may hang where it breaks. */
const BARE_TIMEOUT_MS = 900_000;

export interface BenchReplayOptions {
  /** Rounds of the work: each makes about six effects. */
  readonly rounds: number;
}

/** One way through the work. */
export interface Timing {
  readonly name: 'original' | 'our recording' | 'our rebuilding' | "QEMU's recording" | "QEMU's replay";
  /** From the work's first byte of output to its last; of our rebuilding, all of it. */
  readonly seconds: number | null;
  /** Of the original's seconds. */
  readonly ratio: number | null;
  /** From the start of QEMU to its end. QEMU can't replay the work without the boot before it. */
  readonly wholeSeconds: number | null;
  /** Bytes of record. */
  readonly bytes: number | null;
  /** Why it did not come to its end. */
  readonly broke: string | null;
}

export interface BenchReplayResult {
  readonly rounds: number;
  readonly effects: bigint;
  readonly effectsPerSecond: number;
  readonly timings: readonly Timing[];
}

interface BareResult {
  readonly seconds: number | null;
  readonly wholeSeconds: number | null;
  readonly console: readonly string[];
  readonly broke: string | null;
}

/** The init of a guest that does the work and nothing else. */
function bareInit(rounds: number): string {
  return `#!/bin/busybox sh
busybox mount -t proc proc /proc
busybox mount -t devtmpfs dev /dev
busybox mount -t ext4 /dev/vda /disk
echo '${BEGIN}'
/bin/work /disk/root/w 1 ${rounds}
busybox sync
echo '${END}'
busybox umount /disk
busybox poweroff -f
`;
}

async function bareInitramfs(work: string, rounds: number, file: string): Promise<void> {
  const programs = [
    { name: 'bin/busybox', data: await readBusybox() },
    { name: 'bin/work', data: await readFile(work) },
    { name: 'init', data: Buffer.from(bareInit(rounds)) },
  ];
  const archive = writeCpio([
    ...['dev', 'proc', 'disk', 'bin'].map((name) => ({ name, mode: S_IFDIR | 0o755 })),
    { name: 'dev/console', mode: S_IFCHR | 0o600, rdev: { major: 5, minor: 1 } },
    ...programs.map((program) => ({ ...program, mode: S_IFREG | 0o755 })),
  ]);
  await writeFile(file, gzipSync(archive));
}

/** Runs a bare guest and times the work by what its console says. */
async function runBare(argv: [string, ...string[]], ctx: LabContext): Promise<BareResult> {
  const startedMs = performance.now();
  const child = await Child.spawn({ label: 'QEMU', argv, stdout: 'pipe', dieWithParent: true });
  const lines: string[] = [];
  let beganMs: number | undefined;
  let endedMs: number | undefined;
  const reading = (async () => {
    for await (const line of createInterface({ input: child.stdout, crlfDelay: Number.POSITIVE_INFINITY })) {
      lines.push(line);
      if (line === BEGIN) beganMs = performance.now();
      if (line === END) endedMs = performance.now();
    }
  })();
  try {
    await withDeadline(Promise.all([reading, child.exited]), {
      label: 'the bare guest',
      timeoutMs: BARE_TIMEOUT_MS,
      signal: ctx.signal,
      lastSeen: () => lines.at(-1) ?? 'nothing on its console',
    });
  } catch (error) {
    ctx.signal.throwIfAborted();
    return { seconds: null, wholeSeconds: null, console: lines, broke: messageOf(error) };
  } finally {
    await child.stop();
  }
  const exit = await child.exited;
  const wholeSeconds = (performance.now() - startedMs) / 1000;
  if (exit.code !== 0 || beganMs === undefined || endedMs === undefined) {
    const said = [child.outputTail(), ...lines.slice(-3)].filter((text) => text !== '').join(' / ');
    return { seconds: null, wholeSeconds, console: lines, broke: `${describeExit(exit)}: ${said}` };
  }
  return { seconds: (endedMs - beganMs) / 1000, wholeSeconds, console: lines, broke: null };
}

/** Does all of it; everything it made is gone afterwards. */
export async function benchReplay(options: BenchReplayOptions, ctx: LabContext): Promise<BenchReplayResult> {
  const { rounds } = options;
  const scope = new Scope();
  try {
    await mkdir(ctx.runsDir, { recursive: true });
    const folder = await mkdtemp(path.join(ctx.runsDir, '.bench-'));
    scope.defer(`working folder ${folder}`, () => rm(folder, { recursive: true, force: true }));
    const work = path.join(folder, 'many-effects');
    await runTool(['gcc', '-static', '-O1', '-o', work, MANY_EFFECTS], { signal: ctx.signal });
    const plainKernel = await buildKernel('n', ctx);
    const image = await buildImage('tiny', ctx);
    const initrd = path.join(folder, 'bare.cpio.gz');
    await bareInitramfs(work, rounds, initrd);
    const rrFile = path.join(folder, 'rr.bin');
    const bare = (title: string, mode: BareMode) =>
      withStep(ctx.progress, title, async () => {
        // Each begins with the same disk.
        const disk = path.join(folder, `${mode}.qcow2`);
        await createOverlay(image.raw, disk, ctx.signal);
        return runBare(
          bareArgs({ mode, kernel: plainKernel.bzImage, initrd, disk, rrFile, memoryMiB: MEMORY_MIB }),
          ctx,
        );
      });

    const original = await bare('the original execution', 'plain');
    if (original.seconds === null) throw new LabError('LAB_GUEST_PROBLEM', `the original execution: ${original.broke}`);

    const runDir = path.join(folder, 'run');
    const recorded = await withStep(ctx.progress, 'our recording', async () =>
      recordRun(
        {
          ...(await recordParts(findConfig('static-relay'), 'tiny', false, ctx)),
          runDir,
          config: 'static-relay',
          accelerator: 'tcg',
          smp: 1,
          memoryMiB: MEMORY_MIB,
          command: ['sh', '-c', `chmod +x /root/work && /root/work /root/w 1 ${rounds} && sync`],
          copyIn: [{ source: work, destination: '/root/work' }],
        },
        ctx,
      ),
    );
    if (recorded.exitStatus !== 0)
      throw new LabError('LAB_GUEST_PROBLEM', `our recording: the work ended with status ${recorded.exitStatus}`);
    const rebuilt = await withStep(ctx.progress, 'our rebuilding', async () =>
      reconstruct(
        {
          runDir,
          at: 'end',
          output: path.join(folder, 'rebuilt.raw'),
          format: 'raw',
          vm: async () => ({
            bzImage: (await buildKernel('y', ctx)).bzImage,
            initramfs: await buildInitramfs({ role: 'replay', module: null }, ctx),
            accelerator: 'tcg',
          }),
        },
        ctx,
      ),
    );

    const rrRecorded = await bare("QEMU's recording", 'record');
    const rrBytes = (await stat(rrFile).catch(() => undefined))?.size ?? null;
    let rrReplayed: BareResult = {
      seconds: null,
      wholeSeconds: null,
      console: [],
      broke: 'there is no recording to replay',
    };
    if (rrRecorded.broke === null) {
      rrReplayed = await bare("QEMU's replay", 'replay');
      if (rrReplayed.broke === null && rrReplayed.console.join('\n') !== rrRecorded.console.join('\n'))
        rrReplayed = { ...rrReplayed, broke: 'its console shows other text than the recorded one' };
    }
    const base = original.seconds;
    const timing = (
      name: Timing['name'],
      took: { readonly seconds: number | null; readonly wholeSeconds: number | null; readonly broke?: string | null },
      bytes: number | null,
    ): Timing => ({
      name,
      seconds: took.seconds,
      ratio: took.seconds === null ? null : took.seconds / base,
      wholeSeconds: took.wholeSeconds,
      bytes,
      broke: took.broke ?? null,
    });
    const ours = recorded.manifest.seconds;
    return {
      rounds,
      effects: rebuilt.effects,
      effectsPerSecond: rebuilt.effectsPerSecond,
      timings: [
        timing('original', original, null),
        timing('our recording', { seconds: ours.command, wholeSeconds: ours.total }, recorded.manifest.trace.bytes),
        timing('our rebuilding', { seconds: rebuilt.seconds.total, wholeSeconds: rebuilt.seconds.total }, null),
        timing("QEMU's recording", rrRecorded, rrBytes),
        timing("QEMU's replay", rrReplayed, null),
      ],
    };
  } finally {
    for (const error of await scope.close()) ctx.log.warn(error.message);
  }
}
