// SPDX-License-Identifier: MIT
import { readdir, readFile, stat, statfs } from 'node:fs/promises';
import { availableParallelism, freemem, totalmem } from 'node:os';
import path from 'node:path';
import { cachedKernel, FLAVOURS } from '../../../guest-kernel/build.js';
import { findSource } from '../../../guest-kernel/source.js';
import { runTool } from '../../proc/tool.js';
import type { LabContext } from '../../util/context.js';
import { messageOf } from '../../util/errors.js';
import { type Invocation, ROOT } from '../invocation.js';

interface Finding {
  readonly what: string;
  readonly state: 'ok' | 'missing' | 'note';
  readonly detail: string;
}

const GIB = 1024 ** 3;
/** A kernel tree, a build tree, an image and a run with a few snapshots. */
const WANTED_FREE_GIB = 12;
const WANTED_MEMORY_GIB = 2;

const gib = (bytes: number) => `${(bytes / GIB).toFixed(1)} GiB`;

/** The nearest folder above that exists: the cache may not have been made yet. */
async function existing(folder: string): Promise<string> {
  for (let at = folder; ; at = path.dirname(at)) {
    if (at === path.dirname(at) || (await stat(at).catch(() => undefined)) !== undefined) return at;
  }
}

async function probe(what: string, work: () => Promise<string>): Promise<Finding> {
  try {
    return { what, state: 'ok', detail: await work() };
  } catch (error) {
    return { what, state: 'missing', detail: messageOf(error).split('\n')[0] ?? '' };
  }
}

async function packagesMissing(): Promise<Finding> {
  // The launcher owns the table of packages: one list, one place.
  const listed = await runTool(['sh', path.join(ROOT, 'lemona'), '--packages']);
  const [all = '', missing = ''] = listed.split('\n');
  const count = all.split(' ').filter(Boolean).length;
  if (missing.trim() === '') return { what: 'Debian packages', state: 'ok', detail: `all ${count} are installed` };
  return {
    what: 'Debian packages',
    state: 'missing',
    detail: `${missing.trim()} (installed when a verb needs them, if root or sudo and the archive allow it)`,
  };
}

/** What chooseAccelerator found out earlier; doctor itself boots nothing. */
async function accelerator(ctx: LabContext): Promise<Finding> {
  const what = 'accelerator';
  const device = await stat('/dev/kvm').catch(() => undefined);
  if (device === undefined) return { what, state: 'note', detail: 'tcg: /dev/kvm is absent' };
  const folder = path.join(ctx.cacheDir, 'accelerator');
  const found: string[] = [];
  for (const name of await readdir(folder).catch(() => [])) {
    if (!name.endsWith('.json')) continue;
    const choice: unknown = JSON.parse(await readFile(path.join(folder, name), 'utf8'));
    if (typeof choice === 'object' && choice !== null && 'accelerator' in choice && 'why' in choice) {
      found.push(`${String(choice.accelerator)}: ${String(choice.why)}`);
    }
  }
  const detail =
    found.length > 0
      ? [...new Set(found)].join('; ')
      : '/dev/kvm exists; the first run finds out by booting whether it works';
  return { what, state: 'note', detail };
}

async function findings(ctx: LabContext): Promise<Finding[]> {
  const list: Finding[] = [{ what: 'node', state: 'ok', detail: `${process.version} at ${process.execPath}` }];
  list.push(await packagesMissing());
  list.push(await probe('qemu', async () => (await runTool(['qemu-system-x86_64', '--version'])).split('\n')[0] ?? ''));
  list.push(await probe('gcc', async () => (await runTool(['gcc', '--version'])).split('\n')[0] ?? ''));
  list.push(await accelerator(ctx));
  list.push(
    await probe('kernel source', async () => {
      const source = await findSource(ctx);
      const tested = source.tested ? 'the series was tested with it' : 'the series was NOT tested with it';
      return `${source.version}, sha256 ${source.digest.slice(0, 16)}…, ${tested}`;
    }),
  );
  for (const flavour of FLAVOURS) {
    const kernel = await cachedKernel(flavour, ctx).catch(() => undefined);
    const detail = kernel === undefined ? 'not built yet' : `${kernel.release}, ${path.dirname(kernel.bzImage)}`;
    list.push({ what: `kernel ${flavour}`, state: kernel === undefined ? 'note' : 'ok', detail });
  }
  const cached = await readdir(path.join(ctx.cacheDir, 'images')).catch(() => []);
  const images = cached.filter((name) => !name.startsWith('.') && !name.endsWith('.tar'));
  list.push({ what: 'images', state: 'note', detail: images.length === 0 ? 'none built yet' : images.join(', ') });
  const folder = await existing(ctx.cacheDir);
  const { bavail, bsize } = await statfs(folder);
  const free = bavail * bsize;
  list.push({
    what: 'disk',
    state: free >= WANTED_FREE_GIB * GIB ? 'ok' : 'missing',
    detail: `${gib(free)} free for ${ctx.cacheDir} (${WANTED_FREE_GIB} GiB are comfortable)`,
  });
  list.push({
    what: 'memory',
    state: totalmem() >= WANTED_MEMORY_GIB * GIB ? 'ok' : 'missing',
    detail: `${gib(totalmem())}, ${gib(freemem())} free, ${availableParallelism()} CPUs`,
  });
  return list;
}

/** `doctor`: 3 if anything is missing. */
export async function run(invocation: Invocation): Promise<number> {
  const list = await findings(invocation.context());
  const sign = { ok: '✓', missing: '✗', note: '·' } as const;
  for (const finding of list) {
    if (invocation.json) await invocation.out.json(finding);
    else await invocation.out.line(`${sign[finding.state]} ${finding.what.padEnd(16)} ${finding.detail}`);
  }
  return list.some((finding) => finding.state === 'missing') ? 3 : 0;
}
