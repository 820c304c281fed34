// SPDX-License-Identifier: MIT
/**
 * What strace prints inside the traced guest against the record, thread by thread and call by call: name, result and
 * arguments. Each program runs twice: with all arguments as numbers, and with what they lead to. Programs that enter
 * the kernel by a way of their choice report what they did themselves, too.
 */
import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import { expect } from 'chai';
import { openRun } from '../../lab/run/folder.js';
import { exportTruth } from '../../lab/run/truth.js';
import { accountOf, useBench } from '../harness/boot.js';
import { guestProgram } from '../harness/program.js';
import { sh } from '../harness/sh.js';
import { tallyText } from '../support/strace-pair.js';
import { compareRun } from '../support/strace-run.js';
import { compareReports, toldText } from '../support/strace-told.js';

const ENTRIES = ['64', 'ia32', 'x32'] as const;

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
  ...ENTRIES.map((entry) => [`ioctls-${entry}`, `/root/strace-entries ioctls ${entry} report`] as const),
  ['x32', '/root/strace-entries calls x32 report'],
];

/** Folders of strace's files; `raw` is the one that `compareRun` takes for numbers alone. */
const MODES = {
  raw: '-e raw=all',
  decoded: '-X raw -v -xx -s 600',
} as const;

function script(): string {
  const runs = PROGRAMS.flatMap(([name, command]) =>
    Object.entries(MODES).map(
      ([mode, options]) => `
mkdir -p /root/st/${mode}/${name} /root/w/${mode}-${name} && cd /root/w/${mode}-${name}
[ ${name} != untar ] || cp ../${mode}-tar/a.tar .
cp /root/hello.c .
strace -ff -o /root/st/${mode}/${name}/t ${options} ${command} </dev/null >/dev/null 2>/root/err
status=$?
[ $status = 0 ] || { echo "${mode} ${name}: $status"; cat /root/err; exit 1; }
[ ! -e report ] || mv report /root/told/${mode}-${name}`,
    ),
  );
  // strace would be the only tracer that there can be.
  const traces = ENTRIES.map((entry) => `/root/strace-entries ptraces ${entry} /root/told/ptraces-${entry} || exit 1`);
  return `
export LC_ALL=C HOME=/root
mkdir /root/told
git config --global user.name lemona && git config --global user.email lemona@localhost
printf '#include <stdio.h>\\nint main(void) { return puts("hello") < 0; }\\n' >/root/hello.c
${[...runs, ...traces].join('\n')}
`;
}

describe('strace inside the guest', () => {
  const bench = useBench();

  it('tells the same calls, results and arguments as the record', async () => {
    const { folder, ctx } = bench();
    const copyIn: { source: string; destination: string }[] = [];
    for (const name of ['strace-calls', 'strace-ia32', 'strace-entries']) {
      copyIn.push({ source: await guestProgram(name, folder), destination: `/root/${name}` });
    }
    const { manifest, output } = await bench().record('r', script(), { image: 'debian', smp: 2, copyIn });
    expect(manifest.exitStatus, output).to.equal(0);
    const runDir = bench().runDir('r');
    expect((await accountOf(runDir)).isComplete).to.equal(true);

    const disk = path.join(folder, 'end.raw');
    await exportTruth(await openRun(runDir), 'end', disk, ctx);
    const out = path.join(folder, 'out');
    await mkdir(out);
    for (const from of ['/root/st', '/root/told']) await sh`debugfs -R ${`rdump ${from} ${out}`} ${disk}`;

    const tally = await compareRun(runDir, path.join(out, 'st'));
    const told = await compareReports(runDir, path.join(out, 'told'));
    process.stderr.write(`    ${tallyText(tally)}\n    ${toldText(told)}\n`);
    expect([...tally.differences.slice(0, 20), ...told.differences.slice(0, 40)].join('\n')).to.equal('');
    expect([...tally.unchecked.keys()]).to.deep.equal([]);
    expect(tally.calls).to.be.above(15_000);
    expect(tally.memory).to.be.above(8_000);
    expect(told.memory).to.be.above(2_000);
    for (const entry of ENTRIES) expect(told.byAbi.get(entry), entry).to.be.above(700);
  });
});
