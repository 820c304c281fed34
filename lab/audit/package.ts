// SPDX-License-Identifier: MIT
/** A sealed package that was unpacked: its list of files, signed by the lab, and the run in it. */

import { verify } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { type AuditOptions, type AuditReport, auditRun } from './audit.js';
import { DIGESTS } from './digests.js';
import { walk } from './files.js';
import { type Finding, parseKey } from './log.js';

const MANIFEST = 'SEAL/MANIFEST.sha256';
const SIGNATURE = 'SEAL/MANIFEST.sig';
const KEY = 'SEAL/lab-key.pub.pem';

/** Audits what was unpacked into a folder. */
export async function auditPackage(root: string, options: AuditOptions): Promise<AuditReport> {
  const folders = readdirSync(root).filter((name) => name !== 'SEAL');
  const [run] = folders;
  if (run === undefined || folders.length > 1 || readdirSync(root).length !== 2) {
    const what = `a package holds a run and SEAL, here are: ${readdirSync(root).join(', ')}`;
    return { ...(await auditRun(path.join(root, run ?? 'SEAL'), options)), findings: [{ file: '.', at: '', what }] };
  }
  const report = await auditRun(path.join(root, run), options);
  return { ...report, findings: [...report.findings, ...(await checkManifest(root, report.lab))] };
}

async function checkManifest(root: string, lab: string | null): Promise<Finding[]> {
  const findings: Finding[] = [];
  const find = (file: string, what: string) => findings.push({ file, at: '', what });
  const read = (file: string): Buffer => {
    try {
      return readFileSync(path.join(root, file));
    } catch {
      find(file, 'is not there');
      return Buffer.alloc(0);
    }
  };
  const manifest = read(MANIFEST);
  const signature = read(SIGNATURE);
  const spki = read(KEY).toString('latin1').split('\n')[1] ?? '';
  const key = parseKey(spki);
  if (key === undefined) find(KEY, 'is no public key');
  else if (!verify(null, manifest, key, signature)) find(MANIFEST, 'is not signed by the key beside it');
  if (spki !== lab) find(KEY, 'is not the key of the lab that recorded the run');
  const listed = new Map<string, string>();
  for (const line of manifest.toString('utf8').split('\n').slice(0, -1)) listed.set(line.slice(66), line.slice(0, 64));
  for (const { file, size } of walk(root, [MANIFEST, SIGNATURE])) {
    const wanted = listed.get(file);
    listed.delete(file);
    if (wanted === undefined) find(file, 'was put in: the manifest does not list it');
    else if (size === undefined || (await DIGESTS.sha256(path.join(root, file), size)) !== wanted)
      find(file, 'is not what the manifest lists');
  }
  for (const file of listed.keys()) find(file, 'is gone: the manifest lists it');
  return findings;
}
