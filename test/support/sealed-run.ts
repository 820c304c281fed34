// SPDX-License-Identifier: MIT
/** Small runs with a chain and a custody log, made by the code that makes real ones. */
import { createHash } from 'node:crypto';
import { mkdir, readdir, readFile, stat, truncate, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { EvidenceChain } from '../../lab/evidence/chain.js';
import { noteCustody } from '../../lab/evidence/custody.js';
import { segmentsFolder } from '../../lab/trace/run-index.js';
import { SEGMENT_FOOTER_BYTES, segmentName } from '../../lab/trace/segment-format.js';
import { type SealedSegment, SegmentWriter } from '../../lab/trace/segment-writer.js';
import { SEGMENT_CLOCK_NS } from './run-builder.js';

export interface SealedRunShape {
  readonly subbufs: readonly Buffer[];
  readonly limitBytes: number;
  /** Other files by name. */
  readonly files: Readonly<Record<string, string | Buffer>>;
  /** Acts in the custody log besides its beginning. */
  readonly acts: number;
  /** `killed`: the writer's last segment is unsealed, the chain open; `resumed`: and then the chain was closed. */
  readonly end?: 'closed' | 'killed' | 'resumed';
}

export function sha256Of(file: string): Promise<string> {
  return readFile(file).then((bytes) => createHash('sha256').update(bytes).digest('hex'));
}

/** Writes files of a run, and the folders they lie in. */
export async function writeFiles(dir: string, files: Readonly<Record<string, string | Buffer>>): Promise<void> {
  for (const [name, content] of Object.entries(files)) {
    const file = path.join(dir, name);
    await mkdir(path.dirname(file), { recursive: true });
    await writeFile(file, content);
  }
}

/** Makes a run in `dir`, signed by the lab whose key lies in `dataDir`. */
export async function makeSealedRun(dir: string, dataDir: string, shape: SealedRunShape): Promise<void> {
  const { subbufs, limitBytes, end = 'closed' } = shape;
  const options = { dir, dataDir, digest: sha256Of };
  const folder = segmentsFolder(dir);
  await mkdir(folder, { recursive: true });
  let chain = await EvidenceChain.open(options, { run: path.basename(dir) });
  const sealed: SealedSegment[] = [];
  const onSealed = async (segment: SealedSegment) => void sealed.push(segment);
  const writer = await SegmentWriter.create({ folder, limitBytes, now: () => SEGMENT_CLOCK_NS, onSealed });
  for (const bytes of subbufs) await writer.append(bytes);
  const { segments } = await writer.close();
  // Whoever is killed has not sealed the last one.
  for (const segment of end === 'closed' ? sealed : sealed.slice(0, -1)) await chain.segment(segment);
  await writeFiles(dir, shape.files);
  if (end !== 'closed') {
    if (segments > 0) {
      const last = path.join(folder, segmentName(segments - 1));
      await truncate(last, (await stat(last)).size - SEGMENT_FOOTER_BYTES);
    }
    await chain.leave();
    if (end === 'resumed') chain = await EvidenceChain.resume(options);
  }
  if (end !== 'killed') await chain.close();
  for (let act = 0; act < shape.acts; act++) {
    const began = new Date().toISOString();
    await noteCustody(dir, dataDir, { act: 'verify', args: ['run', `--${act}`], version: '1', began, status: 0 });
  }
}

/** All files below a folder by name. */
export async function readFolder(dir: string): Promise<Map<string, Buffer>> {
  const files = new Map<string, Buffer>();
  for (const entry of await readdir(dir, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const full = path.join(entry.parentPath, entry.name);
    files.set(path.relative(dir, full), await readFile(full));
  }
  return files;
}
