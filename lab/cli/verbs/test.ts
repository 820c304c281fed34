// SPDX-License-Identifier: MIT
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { type Invocation, ROOT } from '../invocation.js';
import { TEST_GROUPS } from '../table.js';

interface Counts {
  passed: number;
  failed: number;
  skipped: number;
}

interface Group {
  /** Of one test. */
  readonly timeoutMs: number;
  /** Runs only when it is named: it takes minutes or hours. */
  readonly onRequest?: true;
  readonly nodeOptions?: string;
}

const GROUPS: Record<(typeof TEST_GROUPS)[number], Group> = {
  unit: { timeoutMs: 20_000 },
  golden: { timeoutMs: 20_000 },
  // A real boot, a verify: minutes on a slow machine that emulates.
  boot: { timeoutMs: 1_200_000 },
  // Ten million hostile frames in a small heap: whatever grows with the input ends the group.
  fuzz: { timeoutMs: 3_600_000, onRequest: true, nodeOptions: '--max-old-space-size=256' },
  long: { timeoutMs: 14_400_000, onRequest: true },
};

async function hasTests(group: string): Promise<boolean> {
  const names = await readdir(path.join(ROOT, 'test', group), { recursive: true }).catch(() => []);
  return names.some((name) => name.endsWith('.test.ts'));
}

/** Runs one group; a mocha that ends without counts is a failure of its own. */
async function runGroup(
  group: (typeof TEST_GROUPS)[number],
  grep: string | undefined,
  folder: string,
  signal: AbortSignal,
): Promise<Counts> {
  const args = [
    '--timeout',
    String(GROUPS[group].timeoutMs),
    '--reporter',
    path.join(ROOT, 'test/harness/reporter.ts'),
    ...(grep === undefined ? [] : ['--grep', grep]),
    `test/${group}/**/*.test.ts`,
  ];
  const countsFile = path.join(folder, group);
  const child = spawn(path.join(ROOT, 'node_modules/.bin/mocha'), args, {
    cwd: ROOT,
    env: {
      ...process.env,
      LEMONA_TEST_COUNTS: countsFile,
      // The tests' lab is not the user's: its key and what it witnesses go with the tests.
      XDG_DATA_HOME: path.join(folder, 'data'),
      NODE_OPTIONS: [process.env.NODE_OPTIONS, GROUPS[group].nodeOptions].filter(Boolean).join(' '),
    },
    stdio: ['ignore', 'inherit', 'inherit'],
  });
  // Not a kill: the tests close their guests in order first.
  const onAbort = () => void child.kill('SIGINT');
  signal.addEventListener('abort', onAbort, { once: true });
  const [code] = (await once(child, 'close')) as [number | null];
  signal.removeEventListener('abort', onAbort);
  const text = await readFile(countsFile, 'utf8').catch(() => undefined);
  if (text === undefined) {
    process.stderr.write(`lemona: the ${group} tests ended with status ${code} before they could be counted\n`);
    return { passed: 0, failed: 1, skipped: 0 };
  }
  const counts = JSON.parse(text) as Counts;
  // Mocha fails for other reasons too, such as an error after the last test.
  if (code !== 0 && counts.failed === 0) return { ...counts, failed: 1 };
  return counts;
}

/** `test`: the last line is the sum, alone on its line. */
export async function run(invocation: Invocation): Promise<number> {
  const { signal, log } = invocation.context();
  const asked = TEST_GROUPS.filter((group) => invocation.args.includes(group));
  const groups = asked.length === 0 ? TEST_GROUPS.filter((group) => GROUPS[group].onRequest !== true) : asked;
  const sum: Counts = { passed: 0, failed: 0, skipped: 0 };
  const folder = await mkdtemp(path.join(tmpdir(), 'lemona-test-'));
  try {
    for (const group of groups) {
      if (signal.aborted) break;
      if (!(await hasTests(group))) {
        log.error(`there are no ${group} tests`);
        sum.failed += 1;
        continue;
      }
      await invocation.out.line(`== ${group}`);
      const counts = await runGroup(group, invocation.string('grep'), folder, signal);
      sum.passed += counts.passed;
      sum.failed += counts.failed;
      sum.skipped += counts.skipped;
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
  await invocation.out.line(`${sum.passed} passed, ${sum.failed} failed, ${sum.skipped} skipped`);
  if (signal.aborted) return 130;
  return sum.failed === 0 && sum.passed > 0 ? 0 : 1;
}
