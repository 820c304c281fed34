// SPDX-License-Identifier: MIT
/**
 * What a witness outside of the run says about it: a head that was written down, a file of them, or what a server keeps
 * that they were sent to.
 */
import path from 'node:path';
import { type BootScope, bootOf, type FoundBoot, type Origin } from './boots.js';
import { headLines } from './kept-heads.js';
import type { Finding } from './log.js';

/** The logs of one run, as they are now. */
export interface SeenLogs extends Origin {
  readonly folder: string;
  readonly id: string | undefined;
  /** Public key of the lab that began the chain, base64. */
  readonly lab: string | undefined;
  readonly chain: readonly string[];
  readonly custody: readonly string[];
}

export interface WitnessReport {
  readonly findings: readonly Finding[];
  /** Entries of the chain that the witness vouches for. */
  readonly entries: number;
  /** Identities of other runs that it saw begin before this one, where it saw this one begin. */
  readonly earlier: readonly string[];
}

/** A head in hex, and no file of them. */
export function isHead(text: string): boolean {
  return /^[0-9a-f]{64}$/i.test(text);
}

/** A head in hex, as somebody wrote it down. */
export function checkHead(head: string, seen: SeenLogs): WitnessReport {
  const at = seen.chain.indexOf(head.toLowerCase());
  const what = `is the hash of no entry of the chain, whose head is ${seen.chain.at(-1) ?? 'nothing'}`;
  return at < 0
    ? { findings: [{ file: 'the head given', at: '', what }], entries: 0, earlier: [] }
    : { findings: [], entries: at + 1, earlier: [] };
}

/**
 * Heads that were collected, one JSON object a line. They are those of this run by its identity, wherever it lies now.
 * @param file of them, or folder of a server
 * @param mustKnow the witness was named, or is that of the lab which began the chain: a run it does not know was forged
 */
export async function checkHeads(file: string, seen: SeenLogs, mustKnow: boolean): Promise<WitnessReport> {
  const findings: Finding[] = [];
  let last = 0;
  /** What contradicts a log, by where it lay. A copy has the same chain, and goes on with a custody log of its own. */
  const chain = new Map<string, Finding | undefined>();
  const custody = new Map<string, Finding | undefined>();
  /** Identities by boot, and of runs that were recorded here by folder, in the order in which they began. */
  const begun = new Map<string, string[]>();
  /** Where this one did. */
  let place: string | undefined;
  for await (const line of headLines(file)) {
    const head = parseHead(line);
    if (head === undefined) continue;
    const { log, id, entries, hash } = head;
    if (log === 'chain' && entries === 1) {
      const at = bootOf(head) ?? head.folder;
      const ids = begun.get(at) ?? [];
      if (!ids.includes(id)) begun.set(at, [...ids, id]);
      if (id === seen.id) place = at;
    }
    if (id !== seen.id) continue;
    if (log === 'chain') last = Math.max(last, entries);
    const [found, at] = log === 'chain' ? [chain, ''] : [custody, head.folder];
    const now = seen[log][entries - 1];
    if (now === hash || found.get(at) !== undefined) {
      found.set(at, found.get(at));
      continue;
    }
    const what =
      now === undefined
        ? `was cut: the witness ${file} saw ${entries} entries, ${seen[log].length} are there`
        : `is another one than the witness ${file} saw`;
    found.set(at, { file: `${log}.jsonl`, at: `entry ${entries - 1}`, what });
  }
  const here = path.resolve(seen.folder);
  const inQuestion = custody.has(here) ? [custody.get(here)] : [...custody.values()];
  const [contradiction] = inQuestion.includes(undefined) ? [] : inQuestion;
  for (const finding of [chain.get(''), contradiction]) if (finding !== undefined) findings.push(finding);
  const other = otherThan(seen, begun) ?? (mustKnow && last === 0 ? 'does not know this run' : undefined);
  if (other !== undefined) findings.push({ file, at: '', what: other });
  const there = begun.get(place ?? '') ?? [];
  const earlier = other === undefined ? there.slice(0, there.indexOf(seen.id ?? '')) : [];
  return { findings, entries: last, earlier };
}

/**
 * What a witness saw begin in the place of a run. A boot of a machine has one chain at its server, ever; the name of a
 * run that was recorded may be that of many, and only the folder tells what took its place.
 */
function otherThan(seen: SeenLogs, begun: ReadonlyMap<string, readonly string[]>): string | undefined {
  const boot = bootOf(seen);
  if (boot !== undefined) {
    const others = (begun.get(boot) ?? []).filter((id) => id !== seen.id);
    return others.length === 0 ? undefined : `saw this boot begin as another run: ${others.join(', ')}`;
  }
  const latest = begun.get(path.resolve(seen.folder))?.at(-1);
  return latest === undefined || latest === seen.id ? undefined : `saw another run begin in this folder: ${latest}`;
}

/** One line of such a file; undefined for half a line, which a writer that was killed leaves. */
export function parseHead(line: string) {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    return undefined;
  }
  if (typeof value !== 'object' || value === null) return undefined;
  const { log, id, entries, head, run, machine, server, folder } = value as Record<string, unknown>;
  if ((log !== 'chain' && log !== 'custody') || typeof id !== 'string' || typeof head !== 'string') return undefined;
  const text = (field: unknown) => (typeof field === 'string' ? field : undefined);
  const origin = { run: text(run), machine: text(machine), server: text(server) };
  return { log, id, entries: Number(entries), hash: head, ...origin, folder: text(folder) ?? '' } as const;
}

/** Where boots lie in the folder of a server, or of a machine. */
const PLACE_OF_BOOT = /^(?:machines\/[^/]+\/)?boots\/[^/]+$/;

/**
 * Boots that a witness saw begin, of the servers and machines in question, and that are not among those found: an empty
 * folder looks untouched by itself. Heads of chains that do not say whose they are, which older versions began, are known
 * by where they lay alone.
 *
 * @param dir of the server, or of the machine
 */
export async function checkGone(
  witness: string,
  dir: string,
  scope: BootScope,
  found: readonly FoundBoot[],
): Promise<Finding[]> {
  const there = new Set(found.flatMap((boot) => [boot.id, bootOf(boot), path.resolve(boot.dir)]));
  const gone = new Map<string, Finding>();
  for await (const line of headLines(witness)) {
    const head = parseHead(line);
    if (head === undefined || there.has(head.id)) continue;
    const { id, folder, run = '', machine, server = '' } = head;
    const boot = bootOf(head) ?? folder;
    if (there.has(boot)) continue;
    let file = path.relative(path.resolve(dir), folder);
    if (machine === undefined) {
      if (!PLACE_OF_BOOT.test(file)) continue;
    } else {
      if (scope.machines?.has(machine) === false || scope.servers?.has(server) === false) continue;
      file = path.join(...(scope.machines === undefined ? ['machines', machine] : []), 'boots', run);
    }
    const whose = machine === undefined ? '' : ` of ${machine}`;
    gone.set(boot, { file, at: '', what: `is gone: the witness ${witness} saw run ${id}${whose} there` });
  }
  return [...gone.values()];
}
