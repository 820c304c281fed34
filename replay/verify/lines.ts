// SPDX-License-Identifier: MIT
/** Lines of lemona-manifest: replay/verify/manifest.c has the format. */
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { LabError } from '../../lab/util/errors.js';

/** Fields after the path, in the order of the tool. */
export const FIELDS = [
  'type',
  'mode',
  'uid',
  'gid',
  'size',
  'nlink',
  'rdev',
  'atime',
  'mtime',
  'ctime',
  'btime',
  'flags',
  'projid',
  'link',
  'target',
  'sha256',
  'xattrs',
] as const;

export type Field = (typeof FIELDS)[number];

/** What the tool leaves out, because it is layout and not content. */
export const LEFT_OUT = [
  'inode numbers and generations',
  'directory sizes',
  'block layout: addresses, holes and preallocated blocks (both read as zeros)',
  'the flags INDEX, EXTENTS, HUGE_FILE, INLINE_DATA and EA_INODE',
] as const;

export interface ManifestName {
  /** As printed, bytes outside 0x21..0x7e and `%,=` as %XX. */
  readonly path: string;
  /** Sorts as the tool does: depth first, one directory's names by their bytes. */
  readonly sortKey: string;
  /** In the order of FIELDS. */
  readonly values: readonly string[];
}

/** `a` before `a/b` before `a!`: a slash sorts before every byte that a name can hold. */
export function sortKeyOf(path: string): string {
  return path
    .replaceAll('/', '\0')
    .replace(/%([0-9a-f]{2})/g, (_match, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
}

function broken(source: string, line: string): LabError {
  return new LabError(
    'LAB_BUG',
    `the manifest of ${source} has a line that does not fit: ${JSON.stringify(line.slice(0, 200))}`,
  );
}

/** Reads one name's line. */
export function parseName(line: string, source: string): ManifestName {
  const [path, ...values] = line.split('\t');
  if (path === undefined || !path.startsWith('/') || values.length !== FIELDS.length) throw broken(source, line);
  return { path, sortKey: path === '/' ? '' : sortKeyOf(path), values };
}

export interface ManifestEnd {
  readonly names: number;
  readonly bytes: bigint;
}

/** Reads a manifest as a stream. The generator returns its last line; one that has none was cut off. */
export async function* readManifestLines(
  input: Readable,
  source: string,
): AsyncGenerator<ManifestName, ManifestEnd, void> {
  const lines = createInterface({ input, crlfDelay: Number.POSITIVE_INFINITY });
  let first = true;
  let names = 0;
  let end: ManifestEnd | undefined;
  for await (const line of lines) {
    if (end !== undefined) throw broken(source, line);
    if (first) {
      if (line !== 'lemona-manifest 1') throw broken(source, line);
      first = false;
      continue;
    }
    const closing = /^end (\d+) (\d+)$/.exec(line);
    if (closing !== null) {
      end = { names: Number(closing[1]), bytes: BigInt(closing[2] ?? '') };
      if (end.names !== names) throw broken(source, line);
      continue;
    }
    names++;
    yield parseName(line, source);
  }
  if (end === undefined)
    throw new LabError('LAB_REPLAY_FAILED', `the manifest of ${source} was cut off after ${names} names`);
  return end;
}
