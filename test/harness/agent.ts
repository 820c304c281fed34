// SPDX-License-Identifier: MIT
/** The replay agent's own C code as a program of the host, under ASan and UBSan: test/fuzz/agent/harness.c. */
import { readdir } from 'node:fs/promises';
import path from 'node:path';
import { ROOT } from '../../lab/cli/invocation.js';
import { sh } from './sh.js';

const AGENT = path.join(ROOT, 'replay/agent');
const WRAPPED = [
  'name_to_handle_at',
  'open_by_handle_at',
  'mknodat',
  'ioctl',
  'prctl',
  'syncfs',
  'apply_effect',
  'linkat',
  'statx',
];
const SANITIZERS = ['-fsanitize=address,undefined', '-fno-sanitize-recover=all'];
const FLAGS = ['-std=gnu17', '-Wall', '-Wextra', '-Werror', '-O1', '-g'];

/** What tells that it can't be built here; undefined: nothing. */
export async function whyNoSanitizers(folder: string): Promise<string | undefined> {
  try {
    await sh`gcc ${SANITIZERS} -x c /dev/null -shared -o ${path.join(folder, 'probe')}`;
    return undefined;
  } catch (error) {
    return `gcc with its sanitizers is not here: ${String(error).split('\n')[0]}`;
  }
}

/**
 * Compiles agent and harness into one program.
 *
 * @param sanitizers none: for limits that they could not live with
 */
export async function buildAgentHarness(folder: string, sanitizers = SANITIZERS): Promise<string> {
  const flags = [...FLAGS, ...sanitizers];
  const includes = ['-I', path.join(ROOT, 'module'), '-I', AGENT];
  const sources = (await readdir(AGENT)).filter((name) => name.endsWith('.c'));
  const objects = await Promise.all(
    [...sources.map((name) => path.join(AGENT, name)), path.join(ROOT, 'test/fuzz/agent/harness.c')].map(
      async (source) => {
        const object = path.join(folder, `${path.basename(source)}.o`);
        // The harness calls it once for each plan, in a child.
        const rename = path.basename(source) === 'main.c' ? ['-Dmain=agent_main'] : [];
        await sh`gcc ${[...flags, ...includes, ...rename]} -c ${source} -o ${object}`;
        return object;
      },
    ),
  );
  const program = path.join(folder, 'harness');
  const wraps = WRAPPED.map((name) => `-Wl,--wrap=${name}`);
  await sh`gcc ${[...flags, ...wraps, ...objects]} -o ${program}`;
  return program;
}
