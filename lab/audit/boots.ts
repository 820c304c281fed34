// SPDX-License-Identifier: MIT
/** Runs in the folder of a logging server: `boots/` of a machine, `machines/` of a storage point. */
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import type { Finding } from './log.js';

/** What a chain is of, as its first entry says, and the heads of it. */
export interface Origin {
  readonly run?: string | undefined;
  /** Of a boot that a server received: the machine, and the server's identity. */
  readonly machine?: string | undefined;
  readonly server?: string | undefined;
}

/** A boot that was audited; `dir` is its folder, `id` that of its chain. */
export interface FoundBoot extends Origin {
  readonly dir: string;
  readonly id: string | undefined;
}

/** Whose boots should lie in a folder; undefined: anybody's. */
export interface BootScope {
  readonly servers: ReadonlySet<string> | undefined;
  readonly machines: ReadonlySet<string> | undefined;
}

/** What says which boot a chain is of, wherever it lies; undefined for a run that was recorded here. */
export function bootOf({ run, machine, server }: Origin): string | undefined {
  return machine === undefined ? undefined : JSON.stringify([server, machine, run]);
}

/** What only the folder of a run holds. */
const RUN_FILES = ['run.json', 'chain.jsonl', 'custody.jsonl', 'segments'];

/** Folders of the runs in a folder; of one that is a run, itself. */
export function findRuns(dir: string): string[] {
  const names = readdirSync(dir);
  const kinds = ['boots', 'machines'].filter((kind) => names.includes(kind));
  if (kinds.length === 0 || RUN_FILES.some((file) => names.includes(file))) return [dir];
  const found: string[] = [];
  for (const kind of kinds) {
    for (const entry of readdirSync(path.join(dir, kind), { withFileTypes: true })) {
      const below = path.join(dir, kind, entry.name);
      if (entry.isDirectory()) found.push(...(kind === 'boots' ? [below] : findRuns(below)));
    }
  }
  return found.sort();
}

/** Whose boots should lie in the folder of a server, or of a machine of one: as the chains there say, and the folder. */
export function scopeOf(dir: string, found: readonly FoundBoot[]): BootScope {
  const isMachine = !readdirSync(dir).includes('machines');
  const [servers, machines] = [new Set<string>(), new Set([path.basename(dir)])];
  for (const { machine, server } of found) {
    if (server !== undefined) servers.add(server);
    if (machine !== undefined) machines.add(machine);
  }
  const named = serverOf(isMachine ? path.dirname(path.dirname(dir)) : dir);
  if (named !== undefined) servers.add(named);
  return { servers: servers.size === 0 ? undefined : servers, machines: isMachine ? machines : undefined };
}

/** The identity in `server.json`; undefined: it is none, or not there. */
function serverOf(dir: string): string | undefined {
  try {
    const { server } = JSON.parse(readFileSync(path.join(dir, 'server.json'), 'utf8')) as Record<string, unknown>;
    return typeof server === 'string' ? server : undefined;
  } catch {
    return undefined;
  }
}

/** Boots that lie where others should: in the folder of another boot, or of another machine. */
export function checkPlaces(dir: string, found: readonly FoundBoot[]): Finding[] {
  const findings: Finding[] = [];
  for (const { dir: folder, run, machine } of found) {
    const [machines, name, , boot] = folder.split(path.sep).slice(-4);
    const isRight = boot === run && (machines !== 'machines' || name === machine);
    if (machine === undefined || isRight) continue;
    findings.push({
      file: path.relative(dir, folder),
      at: '',
      what: `is the folder of another boot: it holds ${run} of ${machine}`,
    });
  }
  return findings;
}
