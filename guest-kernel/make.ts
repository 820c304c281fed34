// SPDX-License-Identifier: MIT
/** Runs the kernel's make with a fixed environment, and shows how far it is. */
import { availableParallelism } from 'node:os';
import readline from 'node:readline';
import { Child, describeExit } from '../lab/proc/child.js';
import { LabError, throwIfAborted } from '../lab/util/errors.js';
import type { ProgressStep } from '../lab/util/progress.js';

/** The same bytes whoever builds it, wherever and whenever. */
const FIXED = {
  LC_ALL: 'C',
  KBUILD_BUILD_TIMESTAMP: '2024-01-01 00:00:00 UTC',
  KBUILD_BUILD_USER: 'lemona',
  KBUILD_BUILD_HOST: 'lab',
  KBUILD_BUILD_VERSION: '1',
};

/** Settings of the caller's shell that would change the result. */
const FOREIGN = [
  'MAKEFLAGS',
  'MFLAGS',
  'MAKELEVEL',
  'ARCH',
  'CROSS_COMPILE',
  'KCFLAGS',
  'KAFLAGS',
  'CC',
  'LD',
  'LLVM',
  'O',
];

function makeEnv(): NodeJS.ProcessEnv {
  const env: NodeJS.ProcessEnv = { ...process.env, ...FIXED };
  for (const name of FOREIGN) delete env[name];
  return env;
}

export interface MakeRequest {
  readonly source: string;
  readonly build: string;
  readonly targets: readonly string[];
  readonly variables?: readonly string[];
  readonly signal: AbortSignal;
  /** Told of each object as it is made; `total` is a guess from an earlier build. */
  readonly step?: ProgressStep;
  readonly total?: number;
  /** Objects that were there before. */
  readonly before?: number;
}

/** A line of kbuild's short output that stands for one finished object: `  CC      fs/inode.o`. */
const OBJECT_LINE = /^\s+(?:CC|AS)\s+(?:\[M\]\s+)?(\S+\.o)$/;

/** Runs make; returns how many objects it compiled. */
export async function make(request: MakeRequest): Promise<number> {
  throwIfAborted(request.signal, 'building the kernel');
  const child = await Child.spawn({
    label: 'make',
    argv: [
      'make',
      '-C',
      request.source,
      `O=${request.build}`,
      `-j${availableParallelism()}`,
      ...(request.variables ?? []),
      ...request.targets,
    ],
    env: makeEnv(),
    stdout: 'pipe',
    dieWithParent: true,
  });
  const onAbort = () => void child.stop();
  request.signal.addEventListener('abort', onAbort, { once: true });
  let objects = 0;
  try {
    for await (const line of readline.createInterface({ input: child.stdout })) {
      const object = OBJECT_LINE.exec(line);
      if (object === null) continue;
      objects += 1;
      const at = objects + (request.before ?? 0);
      const part =
        request.total === undefined
          ? `${objects} objects`
          : `${Math.min(99, Math.floor((100 * at) / request.total))} %`;
      request.step?.update(`${part}, ${object[1]}`);
    }
    const exit = await child.exited;
    throwIfAborted(request.signal, 'building the kernel');
    if (exit.code !== 0) {
      throw new LabError(
        'LAB_KERNEL_BUILD',
        `make ${request.targets.join(' ')} in ${request.build}: ${describeExit(exit)}: ${child.outputTail()}`,
        { next: 'read the compiler messages above; a second run continues where this one stopped' },
      );
    }
    return objects;
  } finally {
    request.signal.removeEventListener('abort', onAbort);
    await child.stop();
  }
}
