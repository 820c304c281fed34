// SPDX-License-Identifier: MIT
/** What a run's image tells the database of the time before the record: names of inodes, and names of users. */
import { ext4Uuid } from '../../replay/source.js';
import { listNames } from '../../replay/verify/names.js';
import { runTool } from '../proc/tool.js';
import type { OpenRun } from '../run/folder.js';
import type { BaseName } from '../store/files.js';
import type { Base } from '../store/loader.js';
import { passwdLines } from '../store/users.js';
import { displayBytes } from '../trace/text.js';
import type { LabContext } from '../util/context.js';
import { messageOf } from '../util/errors.js';

/** A path as lemona-manifest writes it, with odd bytes as %XX, for people. Pure. */
export function unescapePath(escaped: string): string {
  const bytes = escaped.replaceAll(/%([0-9A-Fa-f]{2})/g, (_all, hex: string) =>
    String.fromCharCode(Number.parseInt(hex, 16)),
  );
  return displayBytes(Buffer.from(bytes, 'latin1'));
}

/** Undefined if the image is not there any more: paths of files that only it knows are not known then. */
export async function baseOfRun(run: OpenRun, ctx: LabContext): Promise<Base | undefined> {
  const { image } = run.manifest;
  // A boot that a server received, and nobody has said which disk it began with.
  if (image === null) return undefined;
  const { raw } = image;
  let uuid: Buffer;
  try {
    uuid = await ext4Uuid(raw);
  } catch (error) {
    ctx.log.warn(`files that only the image knows have no paths: ${messageOf(error)}`);
    return undefined;
  }
  return {
    uuid,
    names: async function* (): AsyncGenerator<BaseName> {
      for (const { path, ino, gen } of await listNames(raw, ctx)) yield { path: unescapePath(path), ino, gen };
    },
    passwd: async () =>
      passwdLines(await runTool(['debugfs', '-R', 'cat /etc/passwd', raw], { signal: ctx.signal }), 0),
  };
}
