// SPDX-License-Identifier: MIT
/**
 * What somebody may do to a run in order to change what it says: in memory, on its files by name. Each alteration is one
 * row; what it returns differs from what it was given, or it returns undefined because this run offers nothing to do.
 */
import { createHash, generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { SEGMENT_FOOTER_BYTES, SEGMENT_HEADER_BYTES, segmentName } from '../../lab/trace/segment-format.js';
import { Sha256x16 } from '../../lab/trace/sha256x16.js';
import { reseal } from '../support/trace-builder.js';
import type { Random } from './random.js';

export type RunFiles = ReadonlyMap<string, Buffer>;
type Alter = (run: RunFiles, random: Random) => RunFiles | undefined;

const LOGS = ['chain.jsonl', 'custody.jsonl'] as const;
const sha256 = (bytes: Buffer | string) => createHash('sha256').update(bytes).digest('hex');

function changed(run: RunFiles, changes: Readonly<Record<string, Buffer | undefined>>): RunFiles {
  const files = new Map(run);
  for (const [name, bytes] of Object.entries(changes)) {
    if (bytes === undefined) files.delete(name);
    else files.set(name, bytes);
  }
  return files;
}

const bytesOf = (run: RunFiles, name: string): Buffer => run.get(name) ?? Buffer.alloc(0);
const linesOf = (run: RunFiles, log: string): string[] => bytesOf(run, log).toString('utf8').split('\n').slice(0, -1);
const fromLines = (lines: readonly string[]): Buffer => Buffer.from(lines.map((line) => `${line}\n`).join(''));
const segmentsOf = (run: RunFiles): string[] => [...run.keys()].filter((name) => name.endsWith('.seg')).sort();
const randomBytes = (random: Random, length: number): Buffer =>
  Buffer.from(Array.from({ length }, () => random.below(256)));

/** Changes one file that holds something. */
function edit(change: (bytes: Buffer, random: Random) => Buffer): Alter {
  return (run, random) => {
    const name = random.pick([...run.keys()].filter((file) => bytesOf(run, file).length > 0));
    return changed(run, { [name]: change(Buffer.from(bytesOf(run, name)), random) });
  };
}

/** Changes the lines of one log. */
function editLines(change: (lines: string[], random: Random) => string[] | undefined): Alter {
  return (run, random) => {
    const log = random.pick(LOGS);
    const lines = change(linesOf(run, log), random);
    return lines === undefined ? undefined : changed(run, { [log]: fromLines(lines) });
  };
}

/** Replaces the lines of the chain so that numbers, hashes and files agree; each signed by `key`, or as it was. */
function rechain(run: RunFiles, key: KeyObject | undefined, edits: (entry: Record<string, unknown>) => void): RunFiles {
  const out: string[] = [];
  for (const [number, line] of linesOf(run, 'chain.jsonl').entries()) {
    const { signature, ...entry } = JSON.parse(line) as Record<string, unknown>;
    entry.number = number;
    entry.previous = number === 0 ? '0'.repeat(64) : sha256(`${out[number - 1]}\n`);
    edits(entry);
    const body = JSON.stringify(entry).slice(0, -1);
    const signed = key === undefined ? signature : sign(null, Buffer.from(body), key).toString('base64');
    out.push(`${body},"signature":"${String(signed)}"}`);
  }
  return changed(run, { 'chain.jsonl': fromLines(out) });
}

/** Makes every file entry say what the file holds now. */
function nameFilesAnew(run: RunFiles): (entry: Record<string, unknown>) => void {
  const fix = (item: Record<string, unknown>) => {
    const bytes = run.get(String(item.file));
    if (bytes === undefined) return;
    const digest =
      'sha256x16' in item
        ? { sha256x16: new Sha256x16().update(bytes).digest().toString('hex') }
        : { sha256: sha256(bytes) };
    Object.assign(item, { bytes: bytes.length, ...digest });
  };
  return (entry) => {
    if (typeof entry.file === 'string') fix(entry);
    for (const list of [entry.files, entry.found]) if (Array.isArray(list)) list.forEach(fix);
  };
}

const spkiOf = (publicKey: KeyObject) => publicKey.export({ type: 'spki', format: 'der' }).toString('base64');

/** A byte of a sub-buffer changed, its checksum and the segment's seal made right. */
function forgeSegment(run: RunFiles, random: Random): RunFiles | undefined {
  const segments = segmentsOf(run);
  if (segments.length === 0) return undefined;
  const name = random.pick(segments);
  const bytes = Buffer.from(bytesOf(run, name));
  const length = bytes.readUInt32LE(SEGMENT_HEADER_BYTES + 12);
  const subbuf = bytes.subarray(SEGMENT_HEADER_BYTES, SEGMENT_HEADER_BYTES + length);
  const at = random.below(length - 96) + 96;
  subbuf[at] = (subbuf[at] ?? 0) ^ (1 + random.below(255));
  reseal(subbuf);
  sealAnew(bytes);
  return changed(run, { [name]: bytes });
}

function sealAnew(bytes: Buffer): void {
  const footer = bytes.length - SEGMENT_FOOTER_BYTES;
  if (bytes.toString('latin1', footer, footer + 8) !== 'LMNASEAL') return;
  new Sha256x16()
    .update(bytes.subarray(0, footer))
    .digest()
    .copy(bytes, footer + 24);
}

/** A segment more: a copy of one, with the number that comes next. */
function insertSegment(run: RunFiles, random: Random): RunFiles | undefined {
  const segments = segmentsOf(run);
  if (segments.length === 0) return undefined;
  const bytes = Buffer.from(bytesOf(run, random.pick(segments)));
  bytes.writeUInt32LE(segments.length, 12);
  sealAnew(bytes);
  return changed(run, { [`segments/${segmentName(segments.length)}`]: bytes });
}

/** Back to an earlier state: the chain's end and all that it names are gone. */
function rollBack(run: RunFiles, random: Random): RunFiles | undefined {
  const lines = linesOf(run, 'chain.jsonl');
  if (lines.length < 2) return undefined;
  const kept = lines.slice(0, 1 + random.below(lines.length - 1));
  const files = new Map(run);
  for (const line of lines.slice(kept.length)) {
    const entry = JSON.parse(line) as { readonly file?: string; readonly found?: { readonly file: string }[] };
    for (const file of [entry.file, ...(entry.found ?? []).map((found) => found.file)])
      if (file !== undefined) files.delete(file);
  }
  files.set('chain.jsonl', fromLines(kept));
  files.set('custody.jsonl', fromLines(linesOf(run, 'custody.jsonl').slice(0, 1)));
  return files;
}

export const ALTERATIONS: Readonly<Record<string, Alter>> = {
  'a bit flipped': edit((bytes, random) => {
    const at = random.below(bytes.length);
    bytes[at] = (bytes[at] ?? 0) ^ (1 << random.below(8));
    return bytes;
  }),
  'a byte changed': edit((bytes, random) => {
    const at = random.below(bytes.length);
    bytes[at] = (bytes[at] ?? 0) + 1 + random.below(255);
    return bytes;
  }),
  'a stretch overwritten': edit((bytes, random) => {
    const at = random.below(bytes.length);
    randomBytes(random, 1 + random.below(64)).copy(bytes, at);
    return bytes;
  }),
  'bytes put in': edit((bytes, random) => {
    const at = random.below(bytes.length + 1);
    return Buffer.concat([bytes.subarray(0, at), randomBytes(random, 1 + random.below(64)), bytes.subarray(at)]);
  }),
  'bytes taken out': edit((bytes, random) => {
    const at = random.below(bytes.length);
    return Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + 1 + random.below(64))]);
  }),
  'a file cut': edit((bytes, random) => bytes.subarray(0, random.below(bytes.length))),
  'a file removed': (run, random) => changed(run, { [random.pick([...run.keys()])]: undefined }),
  'a file put in': (run, random) =>
    changed(run, {
      [random.pick(['new', 'segments/000999.seg', 'segments/x', 'disk/other', 'boots/2/run.json'])]: randomBytes(
        random,
        random.below(40),
      ),
    }),
  'a file renamed': (run, random) => {
    const name = random.pick([...run.keys()]);
    return changed(run, { [name]: undefined, [`${name}.old`]: bytesOf(run, name) });
  },
  'two files swapped': (run, random) => {
    const [a, b] = [random.pick([...run.keys()]), random.pick([...run.keys()])];
    return changed(run, { [a]: bytesOf(run, b), [b]: bytesOf(run, a) });
  },
  'two segments swapped': (run, random) => {
    const segments = segmentsOf(run);
    if (segments.length < 2) return undefined;
    const [a, b] = [random.pick(segments), random.pick(segments)];
    return changed(run, { [a]: bytesOf(run, b), [b]: bytesOf(run, a) });
  },
  'the last segment removed': (run) => {
    const last = segmentsOf(run).at(-1);
    return last === undefined ? undefined : changed(run, { [last]: undefined });
  },
  'a segment copied and renumbered': insertSegment,
  'a segment forged, checksum and seal right': forgeSegment,
  'an entry removed': editLines((lines, random) => lines.toSpliced(random.below(lines.length), 1)),
  'an entry doubled': editLines((lines, random) => {
    const at = random.below(lines.length);
    return lines.toSpliced(at, 0, lines[at] ?? '');
  }),
  'two entries swapped': editLines((lines, random) => {
    const [a, b] = [random.below(lines.length), random.below(lines.length)];
    return lines.with(a, lines[b] ?? '').with(b, lines[a] ?? '');
  }),
  'a log cut at an entry': editLines((lines, random) => lines.slice(0, random.below(lines.length))),
  'an entry put in, numbered and linked': editLines((lines, random) => {
    const at = 1 + random.below(lines.length);
    const entry = JSON.parse(random.pick(lines)) as Record<string, unknown>;
    return lines.toSpliced(at, 0, JSON.stringify({ ...entry, number: at, previous: sha256(`${lines[at - 1]}\n`) }));
  }),
  'signatures swapped': editLines((lines, random) => {
    const [a, b] = [random.below(lines.length), random.below(lines.length)];
    const [one = '', two = ''] = [lines[a], lines[b]];
    return lines.with(a, one.slice(0, -104) + two.slice(-104)).with(b, two.slice(0, -104) + one.slice(-104));
  }),
  'an entry spelled otherwise': editLines((lines, random) => {
    const at = random.below(lines.length);
    return lines.with(
      at,
      (lines[at] ?? '').replace(random.pick([',', ':', '{']), (sign) => `${sign} `),
    );
  }),
  'chained anew without a key': (run, random) => {
    const forged = forgeSegment(run, random);
    return forged === undefined ? undefined : rechain(forged, undefined, nameFilesAnew(forged));
  },
  'signed anew, the keys named as they were': (run, random) => {
    const forged = forgeSegment(run, random);
    const { privateKey } = generateKeyPairSync('ed25519');
    return forged === undefined ? undefined : rechain(forged, privateKey, nameFilesAnew(forged));
  },
  'signed anew by another lab': (run, random) => {
    const forged = forgeSegment(run, random);
    if (forged === undefined) return undefined;
    return signAnew(forged);
  },
  'rolled back': rollBack,
};

/** The whole run as another lab would have made it: only a witness outside can tell. */
export function signAnew(run: RunFiles): RunFiles {
  const { privateKey, publicKey } = generateKeyPairSync('ed25519');
  const spki = spkiOf(publicKey);
  const fix = nameFilesAnew(run);
  const anew = rechain(run, privateKey, (entry) => {
    if (entry.lab !== undefined) entry.lab = spki;
    if (entry.key !== undefined) entry.key = spki;
    fix(entry);
  });
  const hashes = linesOf(anew, 'chain.jsonl').map((line) => sha256(`${line}\n`));
  const custody: string[] = [];
  for (const line of linesOf(run, 'custody.jsonl')) {
    const { signature: _old, ...entry } = JSON.parse(line) as Record<string, unknown>;
    const { entries } = entry.chain as { readonly entries: number };
    entry.previous = custody.length === 0 ? hashes[0] : sha256(`${custody.at(-1)}\n`);
    Object.assign(entry, { key: spki, chain: { entries, head: hashes[entries - 1] } });
    const body = JSON.stringify(entry).slice(0, -1);
    custody.push(`${body},"signature":"${sign(null, Buffer.from(body), privateKey).toString('base64')}"}`);
  }
  return changed(anew, { 'custody.jsonl': fromLines(custody) });
}

/** True if two runs hold the same files with the same bytes. */
export function isSame(a: RunFiles, b: RunFiles): boolean {
  return a.size === b.size && [...a].every(([name, bytes]) => b.get(name)?.equals(bytes) === true);
}
