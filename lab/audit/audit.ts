// SPDX-License-Identifier: MIT
/**
 * The audit of a run: an independent reading of `docs/evidence.md` and `docs/format.md`. This folder imports nothing of
 * the rest of the program, so that a fault of the writer is not repeated by its judge.
 */
import { readFile } from 'node:fs/promises';
import { checkChain } from './chain.js';
import { checkCustody } from './custody.js';
import { checkFiles, type FilesOptions, type FilesReport } from './files.js';
import { checkHead, checkHeads, isHead, type SeenLogs } from './heads.js';
import { checkKept, type Keeper } from './kept-heads.js';
import { type Finding, fingerprint } from './log.js';
import { checkStamps, type StampReport } from './timestamps.js';

export interface AuditOptions extends Partial<FilesOptions> {
  /** Heads in hex, files of them, or folders of a server that keeps them, which must know this run. */
  readonly heads?: readonly string[];
  /** A witness that need not know a run of another lab than `own`. */
  readonly witness?: string;
  /** Public key in base64 of the lab whose witness that is; custody entries may carry it besides the recording lab's. */
  readonly own?: string;
  /** The lab that must have recorded it. */
  readonly lab?: string;
  /** PEM file of a time-stamping authority, which must have seen the chain. */
  readonly tsa?: string;
}

export interface AuditReport extends Omit<FilesReport & StampReport, 'findings'> {
  readonly run: string | null;
  /** Of a boot that a server received: the machine, and the server's identity. */
  readonly machine: string | null;
  readonly server: string | null;
  readonly id: string | null;
  /** Public key of the recording lab, base64. */
  readonly lab: string | null;
  /** Entries of the chain, and the hash of the last. */
  readonly entries: number;
  readonly head: string | null;
  /** A chain that was not closed proves what it names, and nothing about what may have come after. */
  readonly isClosed: boolean;
  readonly files: number;
  readonly custody: number;
  /** Entries of the chain that a witness outside saw as they are now. */
  readonly witnessed: number;
  /** Of those witnesses, the servers. */
  readonly keepers: readonly Keeper[];
  /** Identities of runs that a witness saw begin before, where it saw this one begin: it has taken their place. */
  readonly earlier: readonly string[];
  readonly resumed: readonly string[];
  readonly findings: readonly Finding[];
}

export async function auditRun(dir: string, options: AuditOptions = {}): Promise<AuditReport> {
  const { isQuick = false, onFile, heads = [], witness, own } = options;
  const chain = await checkChain(dir);
  const custody = await checkCustody(dir, chain, own);
  const files = await checkFiles(dir, chain, { isQuick, ...(onFile === undefined ? {} : { onFile }) });
  const findings = [...chain.findings, ...custody.findings, ...files.findings];
  if (options.lab !== undefined && chain.lab !== options.lab) {
    const what = `was begun by another lab than ${fingerprint(options.lab)}`;
    findings.push({ file: 'chain.jsonl', at: 'entry 0', what });
  }
  const { id, run, machine, server, lab } = chain;
  const seen: SeenLogs = {
    ...{ folder: dir, id, run, machine, server, lab },
    ...{ chain: chain.hashes, custody: custody.hashes },
  };
  // A writer may have been killed between the first entry and its head: but then nothing follows it.
  const isOwn = own !== undefined && lab === own && chain.hashes.length > 1;
  let witnessed = 0;
  const earlier = new Set<string>();
  const asked = [
    ...heads.map((head) => (isHead(head) ? checkHead(head, seen) : checkHeads(head, seen, true))),
    ...(witness === undefined ? [] : [checkHeads(witness, seen, isOwn)]),
  ];
  for (const report of await Promise.all(asked)) {
    findings.push(...report.findings);
    witnessed = Math.max(witnessed, report.entries);
    for (const id of report.earlier) earlier.add(id);
  }
  const kept = await Promise.all(heads.filter((head) => !isHead(head)).map(checkKept));
  const keepers = kept.filter((keeper) => keeper !== undefined);
  findings.push(...keepers.flatMap((keeper) => keeper.findings));
  const { stamps, unchecked, findings: wrong } = await checkStamps(dir, seen, options.tsa);
  findings.push(...wrong);
  return {
    ...{ run: run ?? null, machine: machine ?? null, server: server ?? null, id: id ?? null, lab: lab ?? null },
    ...{ entries: chain.hashes.length, head: chain.hashes.at(-1) ?? null, isClosed: chain.apart !== undefined },
    ...{ files: chain.files.size, bytes: files.bytes, keepers, earlier: [...earlier], skipped: files.skipped },
    unsigned: [...files.unsigned, ...keepers.flatMap((keeper) => keeper.unsigned)],
    ...{ custody: custody.hashes.length, witnessed, resumed: chain.resumed, stamps, unchecked, findings },
  };
}

/** The key in a PEM file of a public key, as the chain spells it. */
export async function readPublicKey(file: string): Promise<string> {
  const pem = await readFile(file, 'utf8');
  return pem
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('-----'))
    .join('');
}
