// SPDX-License-Identifier: MIT
/** What a run's image tells the database of the time before the record: names of inodes, and names of users. */
import { ext4Uuid } from '../../replay/source.js';
import { listNames } from '../../replay/verify/names.js';
import { runTool } from '../proc/tool.js';
import { imageOf, type OpenRun } from '../run/folder.js';
import type { BaseName } from '../store/files.js';
import type { Base } from '../store/loader.js';
import { passwdLines } from '../store/users.js';
import type { RootFs } from '../trace/names.js';
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

/** Of the image's file system; undefined if it is not there any more, which is said along with what follows from it. */
async function uuidOf(run: OpenRun, ctx: LabContext, consequence: string): Promise<Buffer | undefined> {
  const { image } = run.manifest;
  // A boot that a server received, and nobody has said which disk it began with.
  if (image === null) return undefined;
  try {
    return await ext4Uuid(image.raw);
  } catch (error) {
    ctx.log.warn(`${consequence}: ${messageOf(error)}`);
    return undefined;
  }
}

/** Undefined if the image is not there any more: paths of files that only it knows are not known then. */
export async function baseOfRun(run: OpenRun, ctx: LabContext): Promise<Base | undefined> {
  const uuid = await uuidOf(run, ctx, 'files that only the image knows have no paths');
  if (uuid === undefined) return undefined;
  const { raw } = imageOf(run);
  return {
    uuid,
    names: async function* (): AsyncGenerator<BaseName> {
      for (const { path, ino, gen } of await listNames(raw, ctx)) yield { path: unescapePath(path), ino, gen };
    },
    passwd: async () =>
      passwdLines(await runTool(['debugfs', '-R', 'cat /etc/passwd', raw], { signal: ctx.signal }), 0),
  };
}

/** Which file system of the record is `/`; undefined if the image is not there any more. */
export async function rootOfRun(run: OpenRun, ctx: LabContext): Promise<RootFs | undefined> {
  const uuid = await uuidOf(run, ctx, 'the first file system that the record speaks of is taken for /');
  return uuid === undefined ? undefined : { uuid, names: [] };
}

/** The same, with what it held before the record. */
export async function heldByRoot(run: OpenRun, ctx: LabContext): Promise<RootFs | undefined> {
  const base = await baseOfRun(run, ctx);
  if (base === undefined) return undefined;
  const names: BaseName[] = [];
  for await (const name of base.names()) names.push(name);
  return { uuid: base.uuid, names };
}
