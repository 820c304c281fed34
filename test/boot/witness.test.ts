// SPDX-License-Identifier: MIT
import path from 'node:path';
import { expect } from 'chai';
import { ROOT } from '../../lab/cli/invocation.js';
import { isSound } from '../../lab/cli/verbs/stats.js';
import type { CopyIn } from '../../lab/run/copy-in.js';
import { openRun } from '../../lab/run/folder.js';
import { type WitnessVerdict, witnessLines, witnessVerdict } from '../../lab/run/witness.js';
import { statsOf } from '../../lab/trace/stats.js';
import { type Bench, testSeed, useBench } from '../harness/boot.js';
import { guestProgram } from '../harness/program.js';
import { sh } from '../harness/sh.js';
import { dropEntry } from '../support/tamper.js';

const SHELL = 'cd /root; i=0; while [ $i -lt 40 ]; do echo $i > f$i; cat f$i >/dev/null; i=$((i + 1)); done; rm f*';

/** Without a libc: no 32-bit one need be installed. */
const BARE_32 = ['-m32', '-ffreestanding', '-nostdlib', '-static', '-fno-pic', '-no-pie', '-fno-stack-protector'];

/** Compiles a program of the guest; where it goes to. */
async function program(bench: Bench, name: string, flags?: readonly string[]): Promise<CopyIn> {
  return { source: await guestProgram(name, bench.folder, flags), destination: `/root/${name}` };
}

async function verdictOf(runDir: string): Promise<WitnessVerdict> {
  const { witness } = (await openRun(runDir)).manifest;
  if (witness === undefined) throw new Error('the run has no witness');
  return witnessVerdict(runDir, witness);
}

/** The equation holds; what a failed test should show is the equation. */
function expectHolds(verdict: WitnessVerdict, context = ''): void {
  expect(verdict.faults, [context, ...witnessLines(verdict)].join('\n')).to.deep.equal([]);
  expect(verdict.unexplained).to.equal(0n);
}

describe('the witness', () => {
  const bench = useBench();

  it('finds every executed call in the record, and misses one that is taken out of it', async () => {
    await bench().record('r', SHELL, { isWitnessed: true });
    const runDir = bench().runDir('r');
    const verdict = await verdictOf(runDir);
    expectHolds(verdict);
    expect(verdict.before).to.equal(0n);
    expect(verdict.refused).to.equal(0n);
    expect(verdict.lost).to.equal(0n);
    expect(verdict.recorded > 500n && verdict.exempt > 0n).to.equal(true);
    expect((await openRun(runDir)).manifest).to.include({ accelerator: 'tcg' });
    const stats = () => sh({ nothrow: true })`${path.join(ROOT, 'lemona')} stats r --runs ${bench().folder}`;
    expect(await stats()).to.include({ exitCode: 0 });
    expect((await stats()).stdout).to.include(`\n${witnessLines(verdict)[0]}\n`);
    // A record that lacks one call and says that it never was: by its own account it is complete.
    await dropEntry(runDir);
    expect(isSound(await statsOf(runDir))).to.equal(true);
    const tampered = await verdictOf(runDir);
    expect(tampered.unexplained).to.equal(1n);
    expect(tampered.faults).to.deep.equal(['64-bit calls: 1 were executed that nothing accounts for']);
    expect(await stats()).to.include({ exitCode: 1 });
  });

  for (const smp of [2, 4]) {
    it(`counts on ${smp} CPUs at once`, async () => {
      const parts = [1, 2, 3, 4, 5, 6].map((n) => `(mkdir /root/${n}; ${SHELL.replace('/root', `/root/${n}`)}) &`);
      await bench().record('r', `${parts.join('\n')}\nwait`, { smp, isWitnessed: true });
      const verdict = await verdictOf(bench().runDir('r'));
      expectHolds(verdict);
      expect(verdict.before).to.equal(0n);
      expect(verdict.recorded > 3000n).to.equal(true);
    });
  }

  it('tells calls before a module was loaded from those after', async () => {
    await bench().record('r', SHELL, { config: 'module-relay', smp: 2, isWitnessed: true });
    const verdict = await verdictOf(bench().runDir('r'));
    expectHolds(verdict);
    expect(verdict.before > 0n).to.equal(true);
  });

  it('knows every instruction and every entry', async () => {
    const copyIn = [await program(bench(), 'calls64'), await program(bench(), 'calls32', BARE_32)];
    const script = 'cd /root; chmod +x calls*; ./calls64 1000 && ./calls32 && echo all right';
    const { output } = await bench().record('r', script, { copyIn, isWitnessed: true });
    expect(output).to.equal('illegal 1000\nall right\n');
    const verdict = await verdictOf(bench().runDir('r'));
    expectHolds(verdict);
    const by = new Map(verdict.instructions.map((row) => [row.name, row]));
    // 1000 in 64-bit code, which the processor refuses; 100 calls, 10 of them with an argument that can't be read.
    expect(by.get('sysenter')).to.deep.include({ refused: 1000n });
    expect(by.get('syscall')).to.deep.include({ refused: 0n });
    expect(by.get('int80')).to.deep.include({ refused: 0n });
    const { syscalls } = await statsOf(bench().runDir('r'));
    const getpids = (abi: string) => syscalls.find((row) => row.name === 'getpid' && row.abi === abi);
    // By int $0x80, the vDSO and sysenter, and from 64-bit code by int $0x80.
    expect(getpids('ia32')).to.deep.include({ entries: 100 + 100 + 100 + 10 + 1000, denied: 10 });
    expect(getpids('x32')).to.deep.include({ entries: 1000 });
    expect((getpids('64')?.entries ?? 0) >= 2000).to.equal(true);
  });

  it('finds calls that never ran, and the last calls of killed tasks', async () => {
    const seed = testSeed();
    const copyIn = [await program(bench(), 'cut-calls')];
    const script = `chmod +x /root/cut-calls; /root/cut-calls ${seed}`;
    // The kernel has that page only if it is told to.
    const kernelArgs = ['vsyscall=xonly'];
    const { output, exitStatus } = await bench().record('r', script, { copyIn, kernelArgs, smp: 2, isWitnessed: true });
    expect(exitStatus, output).to.equal(0);
    expect(output.trim().split('\n')).to.deep.equal([
      'errno: status 0',
      'trap: signal 31',
      'untraced: status 0',
      'process kill: signal 31',
      'thread kill: status 0',
      'strict mode: signal 9',
      'user dispatch: status 0',
      'bad selector: signal 31',
      'tracer: status 0',
      'tracer and filter: status 0',
      'vsyscall: signal 9',
    ]);
    expectHolds(await verdictOf(bench().runDir('r')), `LEMONA_SEED=${seed}`);
    const { syscalls } = await statsOf(bench().runDir('r'));
    const denied = (name: string) => syscalls.find((row) => row.name === name)?.denied;
    // errno 5, trap, untraced, process kill, threads 5, strict mode, dispatch 5, bad selector, tracer 5 and its last,
    // and 5 that a tracer made of another.
    expect(denied('getppid')).to.equal(5 + 1 + 1 + 1 + 5 + 1 + 5 + 1 + 5 + 1 + 5);
    expect(denied('getpgrp')).to.equal(5);
    expect(denied('getuid') ?? 0).to.equal(0);
    expect(denied('time') ?? 0).to.equal(0);
  });

  it('accounts for calls that a lossy record declares lost', async () => {
    const copyIn = [await program(bench(), 'calls64')];
    // On the only CPU the flood goes first: whoever reads the record gets a twentieth of the time.
    const script = 'cd /root; chmod +x calls64; ./calls64 40000 first';
    const kernelArgs = ['lemona.lossy=1', 'lemona.pool_mb=1'];
    const { exitStatus, output } = await bench().record('r', script, { copyIn, kernelArgs, isWitnessed: true });
    expect(exitStatus, output).to.equal(0);
    const verdict = await verdictOf(bench().runDir('r'));
    expectHolds(verdict);
    expect(verdict.lost > 0n, witnessLines(verdict).join('\n')).to.equal(true);
    expect(verdict.entries.every((entry) => entry.lost > 0n)).to.equal(true);
  });
});
