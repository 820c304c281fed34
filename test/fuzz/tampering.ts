// SPDX-License-Identifier: MIT
/** Alters sealed runs at random and has them audited; the run's folder is put right again after each trial. */
import { mkdir, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { type AuditReport, auditRun } from '../../lab/audit/audit.js';
import { makeSealedRun, readFolder, type SealedRunShape } from '../support/sealed-run.js';
import * as b from '../support/trace-builder.js';
import { ALTERATIONS, isSame, type RunFiles } from './alter-run.js';
import type { Random } from './random.js';

export interface TamperResult {
  readonly trials: number;
  /** Alterations by kind: tried, and found without the witness too, if that was asked. */
  readonly kinds: ReadonlyMap<string, { tried: number; foundAlone: number }>;
  /** What an auditor with the witness did not find. */
  readonly missed: readonly string[];
}

/** A run of random shape: segments, files, custody, writers that were killed. */
export function randomShape(random: Random): SealedRunShape {
  const subbufs = Array.from({ length: random.below(7) }, (_none, i) =>
    b.subbuf([b.nop(BigInt(i + 1)), b.info(`${'x'.repeat(random.below(60))}${i}`)], { number: BigInt(i) }),
  );
  const bytes = (limit: number) => Buffer.from(Array.from({ length: random.below(limit) }, () => random.below(256)));
  const files: Record<string, string | Buffer> = {
    'run.json': `{"format":1,"name":"r","state":"complete","n":${random.u32()}}\n`,
    'disk/disk.qcow2': bytes(600),
    'checkpoints/start.json': '{"name":"start"}\n',
  };
  if (random.oneIn(2)) files['console.log'] = bytes(200);
  if (random.oneIn(3)) files['segments/torn-tail.bin'] = bytes(100);
  if (random.oneIn(4)) files['boots/1/chain.jsonl'] = 'of a boot that failed\n';
  if (random.oneIn(4)) files['ä name.txt'] = '';
  return {
    ...{ subbufs, files, limitBytes: random.pick([1, 300, 1_000_000]), acts: random.below(4) },
    ...(random.oneIn(4) ? { end: 'resumed' as const } : {}),
  };
}

export function isFound(report: Pick<AuditReport, 'findings' | 'isClosed'>): boolean {
  return report.findings.length > 0 || !report.isClosed;
}

/** Tries alterations on one run; `folder` gets the run and, beside it, the lab's key and the witness. */
export async function tamper(
  folder: string,
  trials: number,
  random: Random,
  options: { readonly isAuditedAlone?: boolean } = {},
): Promise<TamperResult> {
  const dir = path.join(folder, 'run');
  const dataDir = path.join(folder, 'data');
  const witness = path.join(dataDir, 'heads.jsonl');
  await makeSealedRun(dir, dataDir, randomShape(random));
  const run = await readFolder(dir);
  const kinds = new Map<string, { tried: number; foundAlone: number }>();
  const missed: string[] = [];
  const names = Object.keys(ALTERATIONS);
  for (let done = 0; done < trials; ) {
    const name = random.pick(names);
    const altered = ALTERATIONS[name]?.(run, random);
    if (altered === undefined || isSame(run, altered)) continue;
    done++;
    await replace(dir, run, altered);
    const found = isFound(await auditRun(dir, { witness }));
    const foundAlone = options.isAuditedAlone === true && isFound(await auditRun(dir));
    await replace(dir, altered, run);
    const kind = kinds.get(name) ?? { tried: 0, foundAlone: 0 };
    kinds.set(name, { tried: kind.tried + 1, foundAlone: kind.foundAlone + (foundAlone ? 1 : 0) });
    if (!found) missed.push(name);
  }
  await rm(dir, { recursive: true });
  return { trials, kinds, missed };
}

async function replace(dir: string, from: RunFiles, to: RunFiles): Promise<void> {
  for (const name of from.keys()) if (!to.has(name)) await rm(path.join(dir, name));
  for (const [name, bytes] of to) {
    if (from.get(name)?.equals(bytes) === true) continue;
    await mkdir(path.dirname(path.join(dir, name)), { recursive: true });
    await writeFile(path.join(dir, name), bytes);
  }
}
