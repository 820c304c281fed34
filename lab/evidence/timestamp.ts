// SPDX-License-Identifier: MIT
/**
 * Time stamps (RFC 3161) on the heads of a run's logs: an authority outside of the lab signs that a head existed at a
 * time. What it answers lies in `timestamps/`, `LOG-N.tsr` for a log of N entries (`docs/evidence.md`).
 */
import { mkdir, mkdtemp, readFile, rename, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { runTool } from '../proc/tool.js';
import { ioError, LabError } from '../util/errors.js';
import { CHAIN_FILE, CUSTODY_FILE, STAMPS_DIR } from './files.js';
import { readLog } from './signed-log.js';

export interface Authority {
  /** A folder of `authority.sh`, or an address that takes queries by HTTP. */
  readonly where: string;
  /** PEM file of certificates that its own must lead to. */
  readonly ca: string;
}

const ANSWER_MS = 30_000;

export interface Stamped {
  /** From the run's folder. */
  readonly file: string;
  readonly entries: number;
  readonly head: string;
}

/** Has the heads of both logs stamped; an answer that does not hold is not kept. */
export async function stampRun(dir: string, authority: Authority, signal: AbortSignal): Promise<Stamped[]> {
  const stamped: Stamped[] = [];
  for (const log of [CHAIN_FILE, CUSTODY_FILE]) {
    const { end } = await readLog(path.join(dir, log));
    const file = path.join(STAMPS_DIR, `${path.basename(log, '.jsonl')}-${end.entries}.tsr`);
    await stamp(path.join(dir, file), end.head, authority, signal);
    stamped.push({ file, entries: end.entries, head: end.head });
  }
  return stamped;
}

async function stamp(file: string, head: string, authority: Authority, signal: AbortSignal): Promise<void> {
  const openssl = (...args: string[]) => runTool(['openssl', 'ts', ...args], { signal });
  let drafts: string | undefined;
  try {
    await mkdir(path.dirname(file), { recursive: true });
    drafts = await mkdtemp(`${file}.`);
    const query = path.join(drafts, 'query');
    const reply = path.join(drafts, 'reply');
    await openssl('-query', '-sha256', '-digest', head, '-cert', '-out', query);
    await writeFile(reply, await ask(authority.where, query, signal), { flush: true });
    await openssl('-verify', '-queryfile', query, '-in', reply, '-CAfile', authority.ca);
    await rename(reply, file);
  } catch (error) {
    throw ioError(`having ${file} stamped by ${authority.where}`, error);
  } finally {
    if (drafts !== undefined) await rm(drafts, { recursive: true, force: true });
  }
}

async function ask(where: string, query: string, signal: AbortSignal): Promise<Buffer> {
  if (!/^https?:/.test(where)) {
    const reply = `${query}.answer`;
    const script = path.join(import.meta.dirname, 'authority.sh');
    const argv = ['sh', '-c', 'exec "$0" answer "$1" <"$2" >"$3"', script, where, query, reply] as const;
    await runTool(argv, { signal });
    return readFile(reply);
  }
  const response = await fetch(where, {
    method: 'POST',
    headers: { 'content-type': 'application/timestamp-query' },
    body: await readFile(query),
    signal: AbortSignal.any([signal, AbortSignal.timeout(ANSWER_MS)]),
  });
  if (!response.ok) throw new LabError('LAB_TOOL_FAILED', `${where} answered with HTTP status ${response.status}`);
  return Buffer.from(await response.arrayBuffer());
}
