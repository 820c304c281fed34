// SPDX-License-Identifier: MIT
/**
 * The custody log of a run, `custody.jsonl`: who did what to it, when, with which version, signed by the key of the lab
 * that did it. It is bound to the first entry of the run's chain, and says where the chain stood each time.
 */
import { access } from 'node:fs/promises';
import { hostname, userInfo } from 'node:os';
import path from 'node:path';
import { withLock } from '../util/lock.js';
import { CHAIN_FILE, CUSTODY_FILE, CUSTODY_LOCK } from './files.js';
import { type Origin, originOf, witnessHead } from './heads.js';
import { labKey, type SigningKey } from './keys.js';
import { appendEntry, emptyLog, type LogEnd, readLog } from './signed-log.js';

/** What was done. */
export interface CustodyAct {
  /** The verb, `begin`, or `note`: something done by hand. */
  readonly act: string;
  /** Its operands and flags. */
  readonly args: readonly string[];
  readonly version: string;
  /** ISO time at which it began; the entry's own time is when it ended. */
  readonly began: string;
  /** How it ended: an exit status. */
  readonly status: number;
}

/** An entry as it stands in the log; the first one has an act only. */
export interface CustodyEntry extends Partial<Omit<CustodyAct, 'act'>> {
  readonly act: string;
  readonly time: string;
  readonly who: { readonly user: string; readonly uid: number; readonly host: string; readonly sudoUser?: string };
}

interface ChainPlace extends Origin {
  readonly id: string;
  readonly head: string;
}

function who(): Record<string, unknown> {
  const { username, uid } = userInfo();
  const { SUDO_USER: behind } = process.env;
  return { user: username, uid, ...(behind === undefined ? {} : { sudoUser: behind }), host: hostname() };
}

/** The log's first entry, made with the chain's first. */
export async function beginCustody(dir: string, dataDir: string, chain: ChainPlace, lab: SigningKey): Promise<void> {
  const { head, ...origin } = chain;
  await append({ dir, dataDir, lab, end: emptyLog(head), origin }, { act: 'begin', chain: { entries: 1, head } });
}

/**
 * Notes an act in a run's custody log.
 * @returns false for a run without a chain: it was recorded before there were any, and nothing vouches for it
 */
export async function noteCustody(dir: string, dataDir: string, act: CustodyAct): Promise<boolean> {
  const chainFile = path.join(dir, CHAIN_FILE);
  if (
    !(await access(chainFile).then(
      () => true,
      () => false,
    ))
  )
    return false;
  const lab = await labKey(dataDir);
  await withLock(path.join(dir, CUSTODY_LOCK), {}, async () => {
    const chain = await readLog(chainFile);
    const { end } = await readLog(path.join(dir, CUSTODY_FILE));
    const { entries, head } = chain.end;
    const origin = originOf(chain.entries[0]);
    await append({ dir, dataDir, lab, end, origin }, { ...act, chain: { entries, head } });
  });
  return true;
}

/** Who did what to a run, in order. Nothing is checked here: that is an audit's work. */
export async function readCustody(dir: string): Promise<CustodyEntry[]> {
  const { entries } = await readLog(path.join(dir, CUSTODY_FILE));
  return entries as unknown as CustodyEntry[];
}

interface Log {
  readonly dir: string;
  readonly dataDir: string;
  readonly lab: SigningKey;
  readonly end: LogEnd;
  readonly origin: Origin & { readonly id: string };
}

async function append(log: Log, fields: Record<string, unknown>): Promise<void> {
  const { dir, dataDir, lab, origin } = log;
  const time = new Date().toISOString();
  const said = { kind: 'custody', key: lab.spki, who: who(), ...fields };
  const end = await appendEntry(path.join(dir, CUSTODY_FILE), log.end, said, time, lab.privateKey);
  await witnessHead(dataDir, { log: 'custody', ...origin, folder: path.resolve(dir) }, end, time);
}
