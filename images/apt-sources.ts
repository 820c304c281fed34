// SPDX-License-Identifier: MIT
/**
 * Which archive the host itself installs from: the Debian entries of its apt
 * sources, in either of apt's two formats. An image is made from the same one,
 * so that a mirror or a local archive needs no second configuration.
 */
import { readdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import { runTool } from '../lab/proc/tool.js';
import type { BuildContext } from './context.js';

/** `deb [options] URI SUITE COMPONENT…`; the options are the host's own business. */
function parseOneLine(text: string): AptSource[] {
  const sources: AptSource[] = [];
  for (const line of text.split('\n')) {
    const match = /^\s*deb\s+(?:\[[^\]]*\]\s+)?(\S+)\s+(\S+)((?:\s+[^#\s]\S*)*)/.exec(line);
    const [, uri, suite, rest] = match ?? [];
    if (uri === undefined || suite === undefined) continue;
    sources.push({ uri, suite, components: (rest ?? '').split(/\s+/).filter(Boolean) });
  }
  return sources;
}

/** Stanzas of `Field: values`, continued by indented lines. */
function parseDeb822(text: string): AptSource[] {
  const sources: AptSource[] = [];
  const live = text.split('\n').filter((line) => !line.startsWith('#'));
  for (const stanza of live.join('\n').split(/\n\s*\n/)) {
    const fields = new Map<string, string[]>();
    for (const field of stanza.replace(/\n[ \t]+/g, ' ').split('\n')) {
      const colon = field.indexOf(':');
      if (colon > 0)
        fields.set(
          field.slice(0, colon).trim().toLowerCase(),
          field
            .slice(colon + 1)
            .split(/\s+/)
            .filter(Boolean),
        );
    }
    if (fields.get('enabled')?.[0]?.toLowerCase() === 'no' || !fields.get('types')?.includes('deb')) continue;
    for (const uri of fields.get('uris') ?? []) {
      for (const suite of fields.get('suites') ?? []) {
        sources.push({ uri, suite, components: fields.get('components') ?? [] });
      }
    }
  }
  return sources;
}

export interface AptSource {
  readonly uri: string;
  readonly suite: string;
  readonly components: readonly string[];
}

/** The entries of one sources file, by its name's ending: pure. */
export function parseSources(name: string, text: string): AptSource[] {
  return name.endsWith('.sources') ? parseDeb822(text) : parseOneLine(text);
}

/**
 * One-line sources for the suite, its updates and its security updates; pure.
 * Empty if the host has none for the suite itself: it runs another release.
 */
export function sourcesForSuite(sources: readonly AptSource[], suite: string): string[] {
  const wanted = [suite, `${suite}-updates`, `${suite}-security`];
  const lines = new Map<string, string>();
  for (const source of sources) {
    if (!wanted.includes(source.suite) || !source.components.includes('main')) continue;
    lines.set(`${source.uri} ${source.suite}`, `deb ${source.uri} ${source.suite} main`);
  }
  return [...lines.keys()].some((key) => key.endsWith(` ${suite}`)) ? [...lines.values()] : [];
}

/** The lines of the host's own configuration. */
export async function hostSources(suite: string, aptFolder = '/etc/apt'): Promise<string[]> {
  const parts = path.join(aptFolder, 'sources.list.d');
  const names = (await readdir(parts).catch(() => [])).sort().map((name) => path.join(parts, name));
  const sources: AptSource[] = [];
  for (const name of [path.join(aptFolder, 'sources.list'), ...names]) {
    if (!/\.(list|sources)$/.test(name)) continue;
    const text = await readFile(name, 'utf8').catch(() => '');
    sources.push(...parseSources(name, text));
  }
  return sourcesForSuite(sources, suite);
}

/** How the host's apt reaches the archive, as options for another apt; not needed with no proxy. */
export async function hostAptOptions(ctx: BuildContext): Promise<string[]> {
  const dump = await runTool(['apt-config', 'dump'], { signal: ctx.signal });
  return dump.split('\n').filter((line) => /^Acquire::(http|https)::Proxy(::\S+)? ".+";$/i.test(line));
}
