// SPDX-License-Identifier: MIT
/**
 * Rebuilds one run from what several storage points hold of the same boot: each source is a run's folder, at the recorder
 * or at a logging server. The new run has a chain of its own, and `merge.json` says where everything came from.
 */
import { constants, existsSync } from 'node:fs';
import { copyFile, mkdir, rm } from 'node:fs/promises';
import path from 'node:path';
import { EvidenceChain } from '../evidence/chain.js';
import { evidenceFiles, type SegmentFolder } from '../evidence/files.js';
import { type Disagreement, mergeCopies } from '../trace/merge-copies.js';
import { CATEGORIES, type Category } from '../trace/parts.js';
import { readSegments, type SegmentProblem } from '../trace/segment-reader.js';
import { SegmentWriter } from '../trace/segment-writer.js';
import type { LabContext } from '../util/context.js';
import { ioError, LabError, throwIfAborted } from '../util/errors.js';
import { goneSince } from './arrived.js';
import { sha256File } from './digest.js';
import { createRunFolder, type OpenRun, openRun } from './folder.js';
import { isRecorded, writeAtomically, writeManifest } from './manifest.js';
import { lastMarkSeq } from './marks.js';

export interface MergeSource {
  readonly dir: string;
  /** An audit found its chain closed and nothing altered. */
  readonly isProven: boolean;
  /** Of its chain. */
  readonly head: string | null;
  /** Fingerprint of the key of the lab that began its chain. */
  readonly lab: string | null;
}

export interface MergeOptions {
  readonly sources: readonly MergeSource[];
  readonly runDir: string;
  readonly force: boolean;
  /** Copies that there should be of each sub-buffer. */
  readonly copies: number;
}

/** CPUs `first` to `last`. */
export interface CpuRange {
  readonly first: number;
  readonly last: number;
}

/** Sub-buffers `first` to `last` of a CPU. */
export interface NumberRange {
  readonly cpu: number;
  readonly first: string;
  readonly last: string;
}

export interface SourceReport extends MergeSource {
  readonly subbufs: number;
  readonly cpus: readonly number[];
  /** CPUs that the machine may have: their numbers are smaller. */
  readonly possible: number;
  /** Damage in its segments. */
  readonly problems: readonly (SegmentProblem & { readonly folder: SegmentFolder })[];
  /** What its run.json counted, and its segments no longer hold. */
  readonly gone: string | null;
  /** The machine has said there that no more comes. */
  readonly hasEnd: boolean;
  /** By CPU: how many sub-buffers there are in all, for this server and others, as the machine said at its end; or null. */
  readonly made: Readonly<Record<string, string>> | null;
}

export interface MergeReport {
  readonly boot: string;
  readonly sources: readonly SourceReport[];
  readonly subbufs: number;
  readonly bytes: number;
  /** How many sub-buffers there are so many copies of. */
  readonly copies: Readonly<Record<number, number>>;
  readonly wantedCopies: number;
  /** With fewer copies than wanted. */
  readonly tooFew: readonly NumberRange[];
  /** Not in sources whose chains are whole: who had such a folder in hand may have written it. */
  readonly unproven: readonly NumberRange[];
  /** Nobody knows what may have come after the last of it: sources without an end have what none with one has. */
  readonly isOpen: boolean;
  /**
   * CPUs that the machine may have, of which no source has anything, where no source says how much there is in all: they
   * have recorded nothing, or whoever has their record is not here.
   */
  readonly unseen: readonly CpuRange[];
  /** Number of the last mark that any source knows of: there are effects up to it. */
  readonly markSeq: string;
  /** In no source, and before something that is. */
  readonly missing: readonly NumberRange[];
  /** Of these no source has more than the part of this category. */
  readonly parts: readonly (NumberRange & { readonly category: Category })[];
  readonly disagreements: readonly (Omit<Disagreement, 'number'> & { readonly number: string })[];
  /** Numbers that a source has twice or out of order. */
  readonly again: number;
}

/** Of a source: what it was sent, and what it has whole beside its part. */
const FOLDERS: readonly SegmentFolder[] = ['segments', 'segments-whole'];

const foldersOf = (dir: string) => FOLDERS.filter((name) => name === 'segments' || existsSync(path.join(dir, name)));

/** Ranges and disagreements listed: more are only a longer list of the same damage. */
const LISTED = 10_000;

/** Merges; the new run is whole when this returns, and gone when it throws. */
export async function mergeRuns(options: MergeOptions, ctx: LabContext): Promise<MergeReport> {
  const opened: OpenRun[] = [];
  for (const { dir } of options.sources) opened.push(await openRun(dir));
  const target = path.resolve(options.runDir);
  if (opened.some(({ dir }) => dir === target))
    throw new LabError('LAB_USAGE', `${target} is one of the sources: it can't be the result`);
  const { reports, bootId } = await survey(opened, options.sources, ctx);
  const folder = await createRunFolder(options.runDir, options.force);
  try {
    const best = opened.find(({ manifest }) => manifest.checkpoints.length > 0) ?? opened[0];
    if (best === undefined) throw new LabError('LAB_BUG', 'merge: no source');
    const chain = await EvidenceChain.open(
      { dir: folder.dir, dataDir: ctx.dataDir, digest: (file) => sha256File(file) },
      { run: folder.name },
    );
    const { report: merged, segments } = await mergeInto(
      folder.segmentsDir,
      chain,
      reports,
      bootId,
      options.copies,
      ctx,
    );
    const report = { ...merged, markSeq: lastMarkSeq(opened.flatMap(({ manifest }) => manifest.marks)).toString() };
    await copyRest(best.dir, folder.dir);
    await writeAtomically(path.join(folder.dir, 'merge.json'), `${JSON.stringify(report, null, 2)}\n`);
    const { manifest } = best;
    const isComplete = report.missing.length + report.parts.length + report.unseen.length === 0 && !report.isOpen;
    await writeManifest(folder.manifestFile, {
      ...manifest,
      // Of the whole, though it may have come as the part of a category.
      ...('received' in manifest ? { received: { ...manifest.received, boot: report.boot } } : {}),
      name: folder.name,
      // A record that others have whole makes no whole run of the disk and the marks of one that was torn.
      state: isComplete && manifest.state === 'complete' ? 'complete' : 'torn',
      trace: { segments, bytes: report.bytes, subbufs: report.subbufs, tornBytes: 0 },
    });
    await chain.close();
    return report;
  } catch (error) {
    await rm(folder.dir, { recursive: true, force: true });
    throw error;
  }
}

/** One look at everything: which boot, which streams, what is damaged. */
async function survey(
  runs: readonly OpenRun[],
  sources: readonly MergeSource[],
  ctx: LabContext,
): Promise<{ reports: SourceReport[]; bootId: bigint }> {
  const boots = new Map<bigint, string[]>();
  const reports: SourceReport[] = [];
  for (const [i, { dir, manifest }] of runs.entries()) {
    const source = sources[i] ?? { dir, isProven: false, head: null, lab: null };
    const cpus = new Set<number>();
    const here = new Set<bigint>();
    const problems: SourceReport['problems'][number][] = [];
    const found = { segments: { subbufs: 0, bytes: 0 }, whole: { subbufs: 0, bytes: 0 } };
    for (const folder of foldersOf(dir)) {
      const count = folder === 'segments' ? found.segments : found.whole;
      for await (const item of readSegments(path.join(dir, folder))) {
        throwIfAborted(ctx.signal, 'merging');
        if (item.type === 'problem') {
          if (problems.length < LISTED) problems.push({ ...item, folder });
          continue;
        }
        cpus.add(item.header.cpu);
        here.add(item.header.bootId);
        count.subbufs++;
        count.bytes += item.header.length;
      }
    }
    for (const boot of here) boots.set(boot, [...(boots.get(boot) ?? []), dir]);
    const gone = goneSince(manifest.trace, found.segments) ?? null;
    const subbufs = found.segments.subbufs + found.whole.subbufs;
    const hasEnd = manifest.state === 'complete';
    const possible = isRecorded(manifest) ? manifest.smp : manifest.received.cpus;
    const made = isRecorded(manifest) ? null : (manifest.received.made ?? null);
    const seen = [...cpus].sort((a, b) => a - b);
    reports.push({ ...source, subbufs, cpus: seen, possible, problems, gone, hasEnd, made });
  }
  const [boot] = boots.keys();
  if (boot === undefined) {
    const [first] = reports.flatMap(({ dir, problems }) => problems.map(({ detail }) => `${dir}: ${detail}`));
    throw new LabError(
      'LAB_RUN_STATE',
      `merge: the sources hold no good sub-buffer${first === undefined ? '' : `: ${first}`}`,
    );
  }
  if (boots.size > 1) {
    const names = [...boots].map(([id, dirs]) => `${id.toString(16)} in ${dirs.join(', ')}`);
    throw new LabError('LAB_USAGE', `merge: the sources are of different boots: ${names.join('; ')}`, {
      next: 'name folders of the same boot',
    });
  }
  return { reports, bootId: boot };
}

/** Writes the merged record, and counts. */
async function mergeInto(
  segmentsDir: string,
  chain: EvidenceChain,
  sources: readonly SourceReport[],
  bootId: bigint,
  wantedCopies: number,
  ctx: LabContext,
): Promise<{ report: Omit<MergeReport, 'markSeq'>; segments: number }> {
  const writer = await SegmentWriter.create({
    folder: segmentsDir,
    now: () => BigInt(Date.now()) * 1_000_000n,
    onSealed: (segment) => chain.segment(segment),
  });
  const copies: Record<number, number> = {};
  const tooFew = new Ranges();
  const unproven = new Ranges();
  const missing = new Ranges();
  const held = sources.map(() => 0);
  /** By CPU: where the merged record ends, and where the machine says that it does. */
  const reached = new Map<number, bigint>();
  const ends = endsOf(sources);
  const parts = new Map([...CATEGORIES.values()].map((category) => [category, new Ranges()]));
  const disagreements: (Omit<Disagreement, 'number'> & { number: string })[] = [];
  let again = 0;
  const copied = sources.map(({ dir, isProven }) => {
    return { folders: foldersOf(dir).map((name) => path.join(dir, name)), isProven };
  });
  const cpus = new Set(sources.flatMap((source) => source.cpus));
  try {
    for await (const item of mergeCopies(copied, bootId, cpus)) {
      throwIfAborted(ctx.signal, 'merging');
      if (item.type === 'again') again++;
      else if (item.type === 'missing') missing.add(item.cpu, item.first, item.last);
      else if (item.type === 'part') parts.get(item.category)?.add(item.cpu, item.number, item.number);
      else if (item.type === 'disagreement') {
        const { cpu, number, contents } = item;
        if (disagreements.length < LISTED) disagreements.push({ cpu, number: number.toString(), contents });
      } else {
        await writer.append(item.bytes);
        reached.set(item.cpu, item.number + 1n);
        copies[item.copies] = (copies[item.copies] ?? 0) + 1;
        if (item.copies < wantedCopies) tooFew.add(item.cpu, item.number, item.number);
        if (!item.isProven) unproven.add(item.cpu, item.number, item.number);
        for (const source of item.sources) held[source] = (held[source] ?? 0) + 1;
      }
    }
  } finally {
    await writer.close();
  }
  for (const [cpu, all] of ends ?? []) {
    const end = reached.get(cpu) ?? 0n;
    if (end < all) missing.add(cpu, end, all - 1n);
  }
  const { bytes, subbufs, segments } = writer.totals;
  const isBehind = !sources.every(({ hasEnd }) => hasEnd);
  const hasHolder = sources.some(({ hasEnd }, i) => hasEnd && held[i] === subbufs);
  /** A relay may go on behind the end that the servers were told. */
  const isPast = [...reached].some(([cpu, end]) => end > (ends?.get(cpu) ?? 0n));
  const report = {
    ...{ boot: bootId.toString(16).padStart(16, '0'), sources, subbufs, bytes, copies, wantedCopies },
    ...{ tooFew: tooFew.list, unproven: unproven.list, missing: missing.list, disagreements, again },
    isOpen: isBehind && !hasHolder && (ends === undefined || isPast),
    unseen: ends === undefined ? unseenOf(cpus, Math.max(...sources.map(({ possible }) => possible))) : [],
    parts: [...parts].flatMap(([category, { list }]) => list.map((range) => ({ ...range, category }))),
  };
  return { report, segments };
}

/** How many sub-buffers there are of each CPU, by the one that says most; undefined: none says. Pure. */
function endsOf(sources: readonly SourceReport[]): Map<number, bigint> | undefined {
  const said = sources.flatMap(({ made }) => (made === null ? [] : [made]));
  const ends = new Map<number, bigint>();
  for (const [cpu, text] of said.flatMap((made) => Object.entries(made))) {
    const all = BigInt(text);
    if (all > (ends.get(Number(cpu)) ?? -1n)) ends.set(Number(cpu), all);
  }
  return said.length === 0 ? undefined : ends;
}

/** Which of the first so many CPUs are not among the seen ones. Pure. */
function unseenOf(seen: ReadonlySet<number>, possible: number): CpuRange[] {
  const ranges: { readonly first: number; last: number }[] = [];
  for (let cpu = 0; cpu < possible; cpu++) {
    if (seen.has(cpu)) continue;
    const open = ranges.at(-1);
    if (open !== undefined && open.last + 1 === cpu) open.last = cpu;
    else ranges.push({ first: cpu, last: cpu });
  }
  return ranges;
}

/** Ranges of numbers, those of a CPU ascending; neighbours become one. */
class Ranges {
  readonly #all: { readonly cpu: number; readonly first: bigint; last: bigint }[] = [];
  readonly #open = new Map<number, { readonly cpu: number; readonly first: bigint; last: bigint }>();

  add(cpu: number, first: bigint, last: bigint): void {
    const open = this.#open.get(cpu);
    if (open !== undefined && open.last + 1n === first) open.last = last;
    else if (this.#all.length < LISTED) {
      const range = { cpu, first, last };
      this.#all.push(range);
      this.#open.set(cpu, range);
    }
  }

  get list(): NumberRange[] {
    return this.#all.map(({ cpu, first, last }) => ({ cpu, first: first.toString(), last: last.toString() }));
  }
}

/** What a rebuild needs besides the record: checkpoints, the disk with its marks, logs. */
async function copyRest(from: string, to: string): Promise<void> {
  for (const file of await evidenceFiles(from)) {
    if (file === 'run.json' || file === 'merge.json' || FOLDERS.some((name) => file.startsWith(`${name}/`))) continue;
    const target = path.join(to, file);
    try {
      await mkdir(path.dirname(target), { recursive: true });
      await copyFile(path.join(from, file), target, constants.COPYFILE_FICLONE);
    } catch (error) {
      throw ioError(`copying ${file} of ${from}`, error);
    }
  }
}
