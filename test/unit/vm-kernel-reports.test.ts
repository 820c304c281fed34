// SPDX-License-Identifier: MIT
import { expect } from 'chai';
import { answersOf } from '../../lab/run/checkers.js';
import { isLastWords, REPORT_LINES, reportsOf } from '../../lab/vm/kernel-reports.js';

/** First lines in the words of the sources of Linux 6.12, with the kind they are of; not from a console. */
const HEADS = [
  ['Kernel panic - not syncing: Fatal exception', 'panic', true],
  ['Oops: general protection fault, probably for non-canonical address 0x1: 0000 [#1] SMP', 'oops', true],
  ['BUG: KASAN: slab-use-after-free in some_call+0x1/0x2', 'KASAN', true],
  ['BUG: sleeping function called from invalid context at kernel/x.c:1', 'sleep in atomic context', true],
  ['BUG: scheduling while atomic: sh/1/0x2', 'sleep in atomic context', true],
  ['BUG: unable to handle page fault for address: 0000', 'BUG', true],
  ['kernel BUG at fs/inode.c:1!', 'BUG', true],
  ['WARNING: possible circular locking dependency detected', 'lockdep', true],
  ['WARNING: inconsistent lock state', 'lockdep', false],
  ['WARNING: HARDIRQ-safe -> HARDIRQ-unsafe lock order detected', 'lockdep', false],
  ['WARNING: suspicious RCU usage', 'lockdep', false],
  ['INFO: lockdep is turned off.', 'lockdep', false],
  ['WARNING: CPU: 1 PID: 2 at fs/ext4/inode.c:3 ext4_x+0x1/0x2', 'warning', false],
  ['INFO: task sh:1 blocked for more than 120 seconds.', 'stall', false],
  ['rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:', 'stall', false],
  ['rcu: INFO: rcu_preempt self-detected stall on CPU', 'stall', false],
  ['refcount_t: underflow; use-after-free.', 'reference count', false],
  ['kmemleak: Kernel memory leak detector disabled', 'kmemleak', false],
] as const;

const FINE = [
  'EXT4-fs (vda): mounted filesystem',
  'kmemleak: Kernel memory leak detector initialized (mem pool available: 39000)',
  'Running RCU self tests',
  'rcu: RCU lockdep checking is enabled.',
  'warning: `sh` uses a feature',
  'DEBUG: x',
] as const;

describe("a kernel's reports on its console", () => {
  for (const [line, kind, isFatal] of HEADS) {
    it(`knows a report of ${kind}: ${line}`, () => {
      expect(reportsOf(`[    1.0] fine\r\n[    2.0] ${line}\r\n`)).to.deep.equal([{ kind, text: `[    2.0] ${line}` }]);
      expect(isLastWords(`[    2.0] ${line}`)).to.equal(isFatal);
    });
  }

  it('takes nothing else for one', () => {
    expect(reportsOf(FINE.map((line) => `[    1.0] ${line}`).join('\n'))).to.deep.equal([]);
  });

  it('keeps what follows a report, up to the next one and not for ever', () => {
    const more = Array.from({ length: 2 * REPORT_LINES }, (_, index) => `line ${index}`);
    const [first, second] = reportsOf(['refcount_t: a', 'b', 'WARNING: CPU: 1 PID: 2', ...more].join('\n'));
    expect(first?.text).to.equal('refcount_t: a\nb');
    expect(second?.text.split('\n').length).to.equal(REPORT_LINES);
  });
});

describe("a debug guest's answers", () => {
  it('are no report if it says nothing', () => {
    expect(answersOf('', 0)).to.deep.equal([]);
  });

  it('are a report for each leak, and for each checker that is off', () => {
    const leak =
      'unreferenced object 0xffff888001234500 (size 640):\n  comm "sh", pid 1\n  backtrace:\n    leak+0x1/0x2';
    expect(answersOf(`${leak}\n${leak}\nlockdep is off\nthe kernel is tainted: 512\n`, 0)).to.deep.equal([
      { kind: 'leak', text: leak },
      { kind: 'leak', text: leak },
      { kind: 'checker', text: 'lockdep is off' },
      { kind: 'checker', text: 'the kernel is tainted: 512' },
    ]);
  });

  it('are a report if the guest could not be asked', () => {
    expect(answersOf('', 127).map(({ text }) => text)).to.deep.equal([
      'the guest could not be asked for its reports: status 127',
    ]);
  });
});
