// SPDX-License-Identifier: MIT

import { Readable } from 'node:stream';
import { expect } from 'chai';
import fc from 'fast-check';
import { compareManifests, type Difference } from '../../replay/verify/compare.js';
import { FIELDS, parseName, readManifestLines, sortKeyOf } from '../../replay/verify/lines.js';

function line(path: string, change: Partial<Record<(typeof FIELDS)[number], string>> = {}): string {
  return [path, ...FIELDS.map((field) => change[field] ?? `${field}-of-it`)].join('\t');
}

function manifest(names: readonly string[], end = `end ${names.length} 1000`): string {
  return `${['lemona-manifest 1', ...names, end].join('\n')}\n`;
}

const read = (text: string, source = 'it') => readManifestLines(Readable.from([Buffer.from(text)]), source);

async function compare(rebuilt: readonly string[], truth: readonly string[]) {
  const found: Difference[] = [];
  const result = await compareManifests(read(manifest(rebuilt)), read(manifest(truth)), (d) => found.push(d));
  return { result, found: found.map((d) => `${d.path} ${d.field} ${d.rebuilt}|${d.truth}`) };
}

async function failureOf(work: Promise<unknown>): Promise<string> {
  return work.then(
    () => 'nothing',
    (error: unknown) => String(error),
  );
}

describe('comparing two manifests', () => {
  it('finds nothing where nothing differs, and counts', async () => {
    const names = [line('/'), line('/a'), line('/a/b')];
    const { result, found } = await compare(names, names);
    expect(found).to.deep.equal([]);
    expect(result).to.deep.equal({
      compared: 3,
      differences: 0,
      leftOut: 0,
      allowed: 0,
      names: { rebuilt: 3, truth: 3 },
      bytes: { rebuilt: 1000n, truth: 1000n },
    });
  });

  it('finds a change of any one field', async () => {
    for (const field of FIELDS) {
      const { found, result } = await compare([line('/'), line('/a', { [field]: 'x' })], [line('/'), line('/a')]);
      expect(found).to.deep.equal([`/a ${field} x|${field}-of-it`]);
      expect(result.differences).to.equal(1);
    }
  });

  it('finds names that only one side has, wherever they stand', async () => {
    const { found } = await compare(
      [line('/'), line('/a'), line('/a/x'), line('/z')],
      [line('/'), line('/a'), line('/a/y'), line('/a%20b')],
    );
    expect(found).to.deep.equal([
      '/a/x name present|absent',
      '/a/y name absent|present',
      '/a%20b name absent|present',
      '/z name present|absent',
    ]);
  });

  it('lets differ what lost effects may have changed, and nothing else', async () => {
    const names = ['/', '/a', '/d', '/d/x', '/e', '/p', '/p/q'];
    const allowance = { anything: false, entries: false, attributes: false, times: false, xattrs: false };
    const differing = async (
      path: string,
      allowed: Partial<typeof allowance>,
      change: Partial<Record<(typeof FIELDS)[number], string>>,
    ) => {
      const found: string[] = [];
      const other = names.map((name) => line(name, name === path ? change : {}));
      await compareManifests(
        read(manifest(names.map((name) => line(name)))),
        read(manifest(other)),
        (d) => found.push(d.field),
        new Map([[path, { ...allowance, ...allowed }]]),
      );
      return found;
    };
    expect(await differing('/a', { times: true }, { mtime: 'x', mode: 'x' })).to.deep.equal(['mode']);
    expect(await differing('/a', { attributes: true }, { size: 'x', mtime: 'x' })).to.deep.equal(['mtime']);
    expect(await differing('/d', { entries: true }, { nlink: 'x' })).to.deep.equal([]);
    expect(await differing('/a', { attributes: true }, { type: 'x', sha256: 'x', nlink: 'x' })).to.have.length(3);
    expect(await differing('/p', { anything: true }, { type: 'x', sha256: 'x' })).to.deep.equal([]);
  });

  it('lets a folder lack names, with all below them, and lets a name of which nothing is known stay', async () => {
    const none = { anything: false, entries: false, attributes: false, times: false, xattrs: false };
    const find = async (rebuilt: readonly string[], truth: readonly string[]) => {
      const found: string[] = [];
      const result = await compareManifests(
        read(manifest(rebuilt.map((name) => line(name)))),
        read(manifest(truth.map((name) => line(name)))),
        (d) => found.push(d.path),
        new Map([
          ['/d', { ...none, entries: true }],
          ['/p', { ...none, anything: true }],
        ]),
      );
      return [found, result.leftOut];
    };
    expect(await find(['/', '/d'], ['/', '/d', '/d/new', '/d/new/x'])).to.deep.equal([[], 2]);
    expect(await find(['/', '/d', '/d/old'], ['/', '/d'])).to.deep.equal([['/d/old'], 0]);
    expect(await find(['/', '/d', '/d/old'], ['/', '/d', '/d/old', '/d/old/x'])).to.deep.equal([['/d/old/x'], 0]);
    expect(await find(['/', '/d', '/p', '/p/q'], ['/', '/d'])).to.deep.equal([[], 2]);
    expect(await find(['/', '/d'], ['/', '/d', '/z'])).to.deep.equal([['/z'], 0]);
  });

  it('lets names be another inode only where one that is left out comes first', async () => {
    const none = { anything: false, entries: false, attributes: false, times: false, xattrs: false };
    const find = async (
      rebuilt: readonly (readonly [string, string])[],
      truth: readonly (readonly [string, string])[],
    ) => {
      const found: string[] = [];
      const lines = (names: readonly (readonly [string, string])[]) =>
        names.map(([name, link]) => line(name, { link }));
      await compareManifests(
        read(manifest(lines(rebuilt))),
        read(manifest(lines(truth))),
        (d) => found.push(`${d.path} ${d.field}`),
        new Map([
          ['/', { ...none, entries: true }],
          ['/d', { ...none, anything: true }],
        ]),
      );
      return found;
    };
    const top = ['/', '-'] as const;
    // Names of two inodes, or of one: nothing that was lost is about them.
    const [b, c] = ['/b', '/c'];
    expect(await find([top, [b, b], [c, c]], [top, [b, b], [c, b]])).to.deep.equal(['/c link']);
    // The first name is below a folder of which nothing is known.
    const [d, x, z] = ['/d', '/d/x', '/z'];
    const moved = [top, [d, '-'], [x, x], [z, x]] as const;
    expect(await find(moved, [top, [d, '-'], [x, '-'], [z, z]])).to.deep.equal([]);
    // It is new, or below a folder that is.
    expect(await find([top, [z, z]], [top, ['/n', '/n'], [z, '/n']])).to.deep.equal([]);
    expect(await find([top, [z, z]], [top, ['/n', '-'], ['/n/y', '/n/y'], [z, '/n/y']])).to.deep.equal([]);
    // It is in the folder that may have new names, but is none of them.
    expect(await find([top, [c, c], [z, z]], [top, [c, c], [z, c]])).to.deep.equal(['/z link']);
  });

  it('refuses a manifest that was cut off, is out of order, or is none', async () => {
    const whole = manifest([line('/'), line('/a')]);
    const other = () => read(manifest([line('/'), line('/a')]));
    for (const bad of [
      '',
      'lemona-manifest 2\nend 0 0\n',
      whole.slice(0, whole.indexOf('end')),
      manifest([line('/'), line('/b'), line('/a')]),
      manifest([line('/'), '/a\tonly']),
      manifest([line('/')], 'end 2 1000'),
    ]) {
      expect(await failureOf(compareManifests(read(bad), other(), () => {})), JSON.stringify(bad)).to.not.equal(
        'nothing',
      );
    }
  });
});

describe('the order of names', () => {
  const name = fc.stringMatching(/^[\x01-\x2e\x30-\xff]{1,4}$/);

  it('is that of a depth-first walk over sorted directories', () => {
    fc.assert(
      fc.property(fc.array(fc.array(name, { minLength: 1, maxLength: 3 }), { minLength: 2, maxLength: 8 }), (paths) => {
        const quoted = (part: string) =>
          [...part]
            .map((c) => (c < '!' || c > '~' || c === '%' ? `%${c.charCodeAt(0).toString(16).padStart(2, '0')}` : c))
            .join('');
        const byKey = [...paths].sort((a, b) => {
          const x = sortKeyOf(`/${a.map(quoted).join('/')}`);
          const y = sortKeyOf(`/${b.map(quoted).join('/')}`);
          return x < y ? -1 : x > y ? 1 : 0;
        });
        const byParts = [...paths].sort((a, b) => {
          for (let i = 0; i < Math.min(a.length, b.length); i++) {
            const order = Buffer.compare(Buffer.from(a[i] ?? '', 'latin1'), Buffer.from(b[i] ?? '', 'latin1'));
            if (order !== 0) return order;
          }
          return a.length - b.length;
        });
        expect(byKey).to.deep.equal(byParts);
      }),
    );
  });

  it('reads a line into a path and its fields', () => {
    expect(parseName(line('/a'), 'it').values).to.have.length(FIELDS.length);
  });
});
