// SPDX-License-Identifier: MIT
/** The custody log of a run: bound to its chain, signed by labs that are known. */
import type { ChainReport } from './chain.js';
import { type Finding, fingerprint, parseKey, readSignedLog } from './log.js';

export const CUSTODY_FILE = 'custody.jsonl';

export interface CustodyReport {
  readonly hashes: readonly string[];
  readonly findings: readonly Finding[];
}

/** @param own public key, base64, that may have signed besides that of the lab that recorded the run */
export async function checkCustody(dir: string, chain: ChainReport, own: string | undefined): Promise<CustodyReport> {
  const log = await readSignedLog(dir, CUSTODY_FILE, chain.hashes[0]);
  const { findings } = log;
  if (log.hashes.length === 0 && findings.length === 0)
    findings.push({ file: CUSTODY_FILE, at: '', what: 'holds no entry' });
  for (const [number, entry] of log.entries.entries()) {
    if (entry === undefined) continue;
    const find = (what: string) => findings.push({ file: CUSTODY_FILE, at: `entry ${number}`, what });
    const { kind, key: spki, chain: place } = entry.value;
    const key = parseKey(spki);
    if (kind !== 'custody') find(`is of kind ${String(kind)}`);
    if (key === undefined || typeof spki !== 'string') find('names no key');
    else if (!entry.isSignedBy(key)) find('is not signed by the key it names');
    else if (spki !== chain.lab && spki !== own) find(`is signed by a key nobody knows here: ${fingerprint(spki)}`);
    const { entries, head } = (typeof place === 'object' && place !== null ? place : {}) as Record<string, unknown>;
    if (typeof entries !== 'number' || chain.hashes[entries - 1] !== head)
      find(`saw the chain end at entry ${Number(entries) - 1} otherwise`);
  }
  return { hashes: log.hashes, findings };
}
