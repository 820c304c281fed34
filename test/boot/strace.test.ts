// SPDX-License-Identifier: MIT
/**
 * What strace prints inside the traced guest against the record, thread by thread and call by call: name, result and
 * arguments. Each program runs twice: with all arguments as numbers, and with what they lead to.
 */
import { mkdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import { expect } from 'chai';
import { syscallRow } from '../../lab/abi/syscalls.js';
import { runTool } from '../../lab/proc/tool.js';
import { openRun } from '../../lab/run/folder.js';
import { exportTruth } from '../../lab/run/truth.js';
import { callArgs } from '../../lab/trace/calls.js';
import { eventsOf } from '../../lab/trace/events.js';
import { accountOf, useBench } from '../harness/boot.js';
import { tallyText } from '../support/strace-pair.js';
import { compareRun } from '../support/strace-run.js';

const PROGRAMS: readonly (readonly [name: string, command: string])[] = [
  ['sh', "sh -c 'for i in 1 2 3; do echo $i; done | cat >out; test -s out && wc -l <out'"],
  ['ls', 'ls -lR /etc'],
  ['tar', 'tar -cf a.tar -C /usr/include asm-generic'],
  ['untar', 'tar -xf a.tar'],
  ['git', "sh -c 'git init -q r && cd r && echo a >a && git add a && git commit -qm x && git gc -q && git log --stat'"],
  ['gcc', "sh -c 'gcc -o hello hello.c && ./hello'"],
  ['sqlite', "sqlite3 t.db 'create table t(a); insert into t values(1),(2); select sum(a) from t'"],
  ['cp', 'cp -a /usr/include/asm-generic copied'],
  ['find', "find /usr/include -name 's*.h' -newermt 2000-01-01"],
  ['calls', '/root/strace-calls .'],
  ['ia32', '/root/strace-ia32 .'],
];

/** Folders of strace's files; `raw` is the one that `compareRun` takes for numbers alone. */
const MODES = {
  raw: '-e raw=all',
  decoded: '-X raw -v -xx -s 600',
} as const;

/** As in every-call.c. */
const LAST_CALL = 550;

function script(): string {
  const runs = PROGRAMS.flatMap(([name, command]) =>
    Object.entries(MODES).map(
      ([mode, options]) => `
mkdir -p /root/st/${mode}/${name} /root/w/${mode}-${name} && cd /root/w/${mode}-${name}
[ ${name} != untar ] || cp ../${mode}-tar/a.tar .
cp /root/hello.c .
strace -ff -o /root/st/${mode}/${name}/t ${options} ${command} </dev/null >/dev/null 2>/root/err
status=$?
[ $status = 0 ] || { echo "${mode} ${name}: $status"; cat /root/err; exit 1; }`,
    ),
  );
  return `
export LC_ALL=C HOME=/root
git config --global user.name lemona && git config --global user.email lemona@localhost
printf '#include <stdio.h>\\nint main(void) { return puts("hello") < 0; }\\n' >/root/hello.c
${runs.join('\n')}
`;
}

describe('strace inside the guest', () => {
  const bench = useBench();

  it('tells the same calls, results and arguments as the record', async () => {
    const { folder, ctx } = bench();
    const copyIn: { source: string; destination: string }[] = [];
    for (const name of ['strace-calls', 'strace-ia32']) {
      const program = path.join(folder, name);
      await runTool(['gcc', '-static', '-O1', '-o', program, path.join(import.meta.dirname, `guest/${name}.c`)]);
      copyIn.push({ source: program, destination: `/root/${name}` });
    }
    const { manifest, output } = await bench().record('r', script(), { image: 'debian', smp: 2, copyIn });
    expect(manifest.exitStatus, output).to.equal(0);
    const runDir = bench().runDir('r');
    expect((await accountOf(runDir)).isComplete).to.equal(true);

    const disk = path.join(folder, 'end.raw');
    await exportTruth(await openRun(runDir), 'end', disk, ctx);
    const out = path.join(folder, 'out');
    await mkdir(out);
    await runTool(['debugfs', '-R', `rdump /root/st ${out}`, disk]);

    const tally = await compareRun(runDir, path.join(out, 'st'));
    process.stderr.write(`    ${tallyText(tally)}\n`);
    expect(tally.differences.slice(0, 20).join('\n')).to.equal('');
    expect([...tally.unchecked.keys()]).to.deep.equal([]);
    expect(tally.calls).to.be.above(15_000);
    expect(tally.memory).to.be.above(7_000);
  });

  it('is not needed to see every call there can be, whatever its arguments', async () => {
    const program = path.join(bench().folder, 'every-call');
    await runTool(['gcc', '-static', '-O1', '-o', program, path.join(import.meta.dirname, 'guest/every-call.c')]);
    const { manifest, output } = await bench().record('r', '/root/every-call', {
      smp: 2,
      copyIn: [{ source: program, destination: '/root/every-call' }],
    });
    expect(manifest.exitStatus, output).to.equal(0);
    expect(output).to.match(/made \d+ calls/);
    const runDir = bench().runDir('r');
    expect((await accountOf(runDir)).isComplete).to.equal(true);
    expect(await readFile(path.join(runDir, 'console.log'), 'utf8')).not.to.match(/BUG:|WARNING:|Oops|Call Trace/);

    // The first pattern: 0x1001, 0x1002, … in as many arguments as the call has.
    const seen = new Set<string>();
    for await (const { record } of eventsOf(runDir, { kinds: new Set(['entry'] as const) })) {
      if (record.kind === 'entry' && record.args.every((value, i) => value === BigInt(0x1001 + i)))
        seen.add(`${record.abi} ${record.nr} ${record.args.length}`);
    }
    const missing = (['64', 'ia32', 'x32'] as const).flatMap((abi) =>
      Array.from({ length: LAST_CALL + 1 }, (_, nr) => {
        const row = syscallRow(nr, abi);
        return `${abi} ${nr} ${row === undefined ? 6 : callArgs(nr, abi).length}`;
      }).filter((key) => !seen.has(key)),
    );
    expect(missing).to.deep.equal([]);
  });
});
