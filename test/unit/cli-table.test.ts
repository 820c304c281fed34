// SPDX-License-Identifier: MIT
import { existsSync } from 'node:fs';
import path from 'node:path';
import { PassThrough } from 'node:stream';
import { text } from 'node:stream/consumers';
import { expect } from 'chai';
import { loadWorkloads } from '../../lab/bench/workloads.js';
import { checkImports, importsOf } from '../../lab/check-deps.js';
import { renderDocs } from '../../lab/cli/docs.js';
import { type FlagValue, ROOT } from '../../lab/cli/invocation.js';
import { buildProgram, helpOfTwo, unknownTopic } from '../../lab/cli/parse.js';
import { withoutPasswords } from '../../lab/cli/passphrase.js';
import { VERBS, WORKLOADS } from '../../lab/cli/table.js';
import { toJson } from '../../lab/util/json.js';
import { Output } from '../../lab/util/output.js';

interface Called {
  readonly verb: string;
  readonly args: readonly string[];
  readonly flags: ReadonlyMap<string, FlagValue>;
}

async function parse(...words: string[]): Promise<Called> {
  let called: Called | undefined;
  const program = buildProgram('1.2.3', async (verb, args, flags) => {
    called = { verb: verb.name, args, flags };
  });
  const quiet = { writeErr: () => {}, writeOut: () => {} };
  program.configureOutput(quiet);
  for (const command of program.commands) {
    command.configureOutput(quiet);
    for (const inner of command.commands) inner.configureOutput(quiet);
  }
  await program.parseAsync(words, { from: 'user' });
  if (called === undefined) throw new Error('no verb was called');
  return called;
}

const failure = (...words: string[]) =>
  parse(...words).then(
    () => 'accepted',
    (error: unknown) => (error as { code: string }).code,
  );

describe('the command line', () => {
  it('has a module for every verb', () => {
    for (const verb of VERBS) {
      expect(existsSync(path.join(ROOT, 'lab/cli/verbs', `${verb.module}.ts`)), verb.name).to.equal(true);
    }
  });

  it("leaves everything after -- to the guest's command", async () => {
    const { verb, args, flags } = await parse(
      'record',
      '--run',
      'a',
      '--copy-in',
      'x:/x',
      '--copy-in',
      'y:/y',
      '--',
      'sh',
      '-c',
      'ls --run b',
      '--json',
    );
    expect(verb).to.equal('record');
    expect(args).to.deep.equal(['sh', '-c', 'ls --run b', '--json']);
    expect(flags.get('run')).to.equal('a');
    expect(flags.get('copy-in')).to.deep.equal(['x:/x', 'y:/y']);
    expect(flags.has('json')).to.equal(false);
  });

  it('leaves everything after the first word to it without -- as well', async () => {
    const { args, flags } = await parse('record', '--run', 'a', 'ls', '-l', '--json');
    expect(args).to.deep.equal(['ls', '-l', '--json']);
    expect(flags.has('json')).to.equal(false);
  });

  it('reads numbers, choices and groups', async () => {
    expect((await parse('record', '--run', 'a', '--smp', '4', 'true')).flags.get('smp')).to.equal(4);
    expect((await parse('record', '--run', 'a', '--timeout', '2.5', 'true')).flags.get('timeout')).to.equal(2.5);
    expect((await parse('build', 'kernel', 'm')).args).to.deep.equal(['m']);
    expect((await parse('test', 'unit', 'golden')).args).to.deep.equal(['unit', 'golden']);
    expect((await parse('verify', 'r', '--all-marks')).flags.get('all-marks')).to.equal(true);
  });

  it('refuses unknown verbs, flags, choices and numbers', async () => {
    expect(await failure('recrd')).to.equal('commander.unknownCommand');
    expect(await failure('stats', 'r', '--jsn')).to.equal('commander.unknownOption');
    expect(await failure('record', '--run', 'a', '--smp', '0', 'true')).to.equal('commander.invalidArgument');
    expect(await failure('record', '--run', 'a', '--smp', '1e3', 'true')).to.equal('commander.invalidArgument');
    expect(await failure('record', '--run', 'a', '--timeout', '2147484', 'true')).to.equal('commander.invalidArgument');
    expect(await failure('record', '--run', '', 'true')).to.equal('commander.invalidArgument');
    expect(await failure('index', 'r', '--db', '')).to.equal('commander.invalidArgument');
    expect(await failure('audit', 'r', '--head', '')).to.equal('commander.invalidArgument');
    expect(await failure('record', 'true')).to.equal('commander.missingMandatoryOptionValue');
    expect(await failure('stats')).to.equal('commander.missingArgument');
    expect(await failure('stats', 'a', 'b')).to.equal('commander.excessArguments');
    expect(await failure('build', 'kernel', 'x')).to.equal('commander.invalidArgument');
    expect(await failure('reconstruct', 'r', '--output', 'f', '--format', 'vmdk')).to.equal(
      'commander.invalidArgument',
    );
  });

  it('shows others no password of a database, however odd the URL is', () => {
    for (const [word, shown] of [
      ['postgres://u:s3cret@h/x', 'postgres://u:***@h/x'],
      ['--db=PostgreSQL://u:s3:c@r/e?t@h:5/x', '--db=PostgreSQL://u:***@h:5/x'],
      ['postgres://u@/x?host=/run&password=s3cret&port=1', 'postgres://u@/x?host=/run&password=***&port=1'],
      ['postgres://u@h:5432/x', 'postgres://u@h:5432/x'],
      ['some:thing@else', 'some:thing@else'],
    ] as const)
      expect(withoutPasswords(['index', word])).to.deep.equal(['index', shown]);
  });

  it('knows what help can be about', () => {
    expect(
      [['help'], ['help', 'bench'], ['help', 'build', 'kernel'], ['stats', 'nope']].map(unknownTopic),
    ).to.deep.equal([undefined, undefined, undefined, undefined]);
    expect(unknownTopic(['help', 'nope'])).to.equal('nope');
  });

  it('prints the help of a verb of two words', () => {
    expect(helpOfTwo(['help', 'build', 'kernel'])).to.deep.equal(['build', 'kernel', '--help']);
    for (const words of [['help'], ['help', 'bench'], ['help', 'build', 'nope'], ['build', 'kernel']])
      expect(helpOfTwo(words), words.join(' ')).to.equal(undefined);
  });

  it('names in its help and in docs/cli.md every value that a flag or an operand can have', async () => {
    const docs = renderDocs();
    for (const verb of VERBS)
      for (const one of [...verb.args, ...verb.flags])
        if (one.choices !== undefined)
          expect(docs).to.include(`: ${one.choices.join(', ')} |`, `${verb.name} ${one.name}`);
    expect(docs).to.match(/`--mode <MODE>` .*: noise, plain, any \|/);
    expect(WORKLOADS).to.have.members((await loadWorkloads()).map(({ name }) => name));
    const help = buildProgram('1', async () => {}).commands.find((command) => command.name() === 'events');
    for (const word of ['malformed', 'RENAME']) expect(help?.helpInformation()).to.include(word);
  });

  it('prints nothing for people that steers their terminal', async () => {
    const stream = new PassThrough();
    const out = new Output(stream);
    await out.line('a note: \x1b[31mred\u009b2J\u202e\n\tnext');
    await out.json({ note: '\x1b[31m' });
    stream.end();
    expect(await text(stream)).to.equal(
      'a note: \\x1b[31mred\\xc2\\x9b2J\\xe2\\x80\\xae\n\tnext\n{"note":"\\u001b[31m"}\n',
    );
  });

  it('prints numbers above 2^53 without loss', () => {
    expect(toJson({ seq: 2n ** 63n + 1n })).to.equal('{"seq":"9223372036854775809"}');
  });
});

describe('the folder table', () => {
  const rows = [
    { folder: 'lab', folders: ['lab/util'], packages: [] },
    { folder: 'lab/util', folders: [], packages: ['zod'] },
  ];
  const files = ['lab/a.ts', 'lab/util/b.ts'];
  const good = [
    { from: 'lab/a.ts', to: 'lab/util/b.js', external: false },
    { from: 'lab/util/b.ts', to: 'zod', external: true },
  ];

  it('accepts what it lists', () => {
    expect(checkImports(rows, files, good)).to.deep.equal([]);
  });

  it('fails on an import that is not listed', () => {
    const back = { from: 'lab/util/b.ts', to: 'lab/a.js', external: false };
    expect(checkImports(rows, files, [...good, back])).to.have.length(1);
    const foreign = { from: 'lab/a.ts', to: 'zod', external: true };
    expect(checkImports(rows, files, [...good, foreign])).to.have.length(1);
  });

  it('fails on rows that nothing uses, and on files without a row', () => {
    expect(checkImports(rows, files, good.slice(1))).to.deep.equal([
      'lab/deps.ts: lab → lab/util: nothing uses it: stale',
    ]);
    expect(checkImports(rows, [...files, 'other/c.ts'], good)).to.deep.equal([
      'other/c.ts: its folder has no row in lab/deps.ts',
    ]);
  });

  it('sees static, type, re-exported and dynamic imports, and not those of Node', () => {
    const text =
      "import a from './a.js';\nimport type { B } from '../b.js';\nexport * from '@x/y/z.js';\nawait import('./d.js');\nimport fs from 'node:fs';\n";
    expect(importsOf('p/q/f.ts', text).map((seen) => seen.to)).to.deep.equal([
      'p/q/a.js',
      'p/b.js',
      '@x/y',
      'p/q/d.js',
    ]);
  });
});
