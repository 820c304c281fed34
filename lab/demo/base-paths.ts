// SPDX-License-Identifier: MIT
/**
 * Paths of inodes that a record touches but never names: they were in the
 * checkpoint already, and the checkpoint's image knows them.
 */
import path from 'node:path';
import { AT, KIND, OP, SIZE } from '../abi/layout.js';
import { runTool } from '../proc/tool.js';
import { segmentsFolder } from '../trace/run-index.js';
import { readSegments } from '../trace/segment-reader.js';
import { walkRecords } from '../trace/walk.js';

const BIRTHS: ReadonlySet<number> = new Set([OP.CREATE, OP.MKNOD, OP.MKDIR, OP.SYMLINK, OP.TMPFILE]);
const DENTRY_OPS: ReadonlySet<number> = new Set([...BIRTHS, OP.LINK, OP.UNLINK, OP.RMDIR]);
/** debugfs reads a command line of at most 8 KiB. */
const INODES_A_LINE = 500;

/** Inode numbers that effects mention and none of them creates. */
export async function unnamedInodes(runDir: string, signal: AbortSignal): Promise<bigint[]> {
  const seen = new Set<bigint>();
  const born = new Set<bigint>();
  for await (const item of readSegments(segmentsFolder(runDir))) {
    signal.throwIfAborted();
    if (item.type !== 'subbuf') continue;
    walkRecords(item.bytes, item.header, (buf, off, size, kind) => {
      if (kind !== KIND.EFFECT) return;
      const code = buf.readUInt16LE(off + AT.lemona_rec.code);
      const ino = buf.readBigUInt64LE(off + AT.lemona_effect.ino);
      if (BIRTHS.has(code)) born.add(ino);
      seen.add(ino);
      // A record may be shorter than its operation wants: the guest's kernel may be an intruder's.
      if (DENTRY_OPS.has(code) && size >= SIZE.lemona_dentry)
        seen.add(buf.readBigUInt64LE(off + AT.lemona_dentry.dir + AT.lemona_attr.ino));
      if (code === OP.RENAME && size >= SIZE.lemona_rename) {
        seen.add(buf.readBigUInt64LE(off + AT.lemona_rename.old_dir + AT.lemona_attr.ino));
        seen.add(buf.readBigUInt64LE(off + AT.lemona_rename.new_dir + AT.lemona_attr.ino));
      }
    });
  }
  return [...seen].filter((ino) => ino > 2n && !born.has(ino));
}

/** What debugfs's `ncheck` printed, as inode number to path; the first name of several. Pure. */
export function parseNcheck(output: string): Map<string, string> {
  const paths = new Map<string, string>();
  for (const line of output.split('\n')) {
    const found = /^(\d+)\t(\/.*)$/.exec(line);
    if (found?.[1] === undefined || found[2] === undefined || paths.has(found[1])) continue;
    paths.set(found[1], path.posix.normalize(found[2].replace(/^\/+/, '/')));
  }
  return paths;
}

/** Turns `#131/passwd` into `/etc/passwd` where the number is known. */
export class BasePaths {
  readonly #paths: ReadonlyMap<string, string>;

  constructor(paths: ReadonlyMap<string, string>) {
    this.#paths = paths;
  }

  static async read(runDir: string, imageRaw: string, signal: AbortSignal): Promise<BasePaths> {
    const inodes = await unnamedInodes(runDir, signal);
    let output = '';
    for (let at = 0; at < inodes.length; at += INODES_A_LINE) {
      const line = `ncheck ${inodes.slice(at, at + INODES_A_LINE).join(' ')}`;
      output += await runTool(['debugfs', '-f', '-', imageRaw], { input: `${line}\n`, signal });
    }
    return new BasePaths(parseNcheck(output));
  }

  resolve(name: string): string {
    const found = /^#(\d+)(\/.*)?$/s.exec(name);
    if (found?.[1] === undefined) return name;
    const base = this.#paths.get(found[1]);
    return base === undefined ? name : `${base === '/' ? '' : base}${found[2] ?? ''}`;
  }
}
