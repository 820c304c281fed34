// SPDX-License-Identifier: MIT
/**
 * `--copy-in SRC:DST`: files of the host into the running guest, as
 * `cp -a SRC DST` would: if DST is a folder of the guest (or ends in `/`), the
 * copy is DST/basename(SRC); else it is DST itself, and its parents are made.
 * A SRC that ends in `/.` copies what is in the folder into DST.
 *
 * A tar stream goes from the host's tar through the control port into the
 * guest's tar: modes, times, links and numeric owners are kept. If this
 * program does not run as root, all files become root's in the guest.
 */
import { stat } from 'node:fs/promises';
import path from 'node:path';
import { Writable } from 'node:stream';
import { Child, describeExit } from '../proc/child.js';
import { LabError } from '../util/errors.js';
import type { CtlClient } from '../vm/ctl.js';

export interface CopyIn {
  readonly source: string;
  readonly destination: string;
}

/** Reads `SRC:DST`. The last colon divides, so a SRC may hold one; DST is an absolute path in the guest. */
export function parseCopyIn(text: string): CopyIn {
  const colon = text.lastIndexOf(':');
  const source = text.slice(0, Math.max(0, colon));
  const destination = text.slice(colon + 1);
  if (colon <= 0 || !destination.startsWith('/')) {
    throw new LabError('LAB_USAGE', `'${text}' is no SRC:DST with an absolute DST`, {
      next: 'as in --copy-in ./src:/root/src',
    });
  }
  return { source, destination };
}

/** Fails before the guest is booted if there is nothing to copy. */
export async function checkCopyIn(copies: readonly CopyIn[]): Promise<void> {
  for (const { source } of copies) {
    try {
      await stat(source);
    } catch (error) {
      throw new LabError('LAB_USAGE', `--copy-in: ${source} can't be read on the host`, { cause: error });
    }
  }
}

/** Unpacks beside the destination and renames, because tar can't give the top entry another name in every guest. */
const GUEST_SCRIPT = `
set -e
dst=$1 base=$2
umask 022
case $base in
  .) mkdir -p "$dst"; exec tar -xpf - -C "$dst";;
esac
case $dst in
  */) mkdir -p "$dst";;
esac
if [ -d "$dst" ]; then exec tar -xpf - -C "$dst"; fi
parent=$(dirname "$dst")
mkdir -p "$parent"
draft=$(mktemp -d "$parent/.copy-in.XXXXXX")
tar -xpf - -C "$draft"
mv "$draft/$base" "$dst"
rmdir "$draft"
`;

export interface CopyInPlan {
  readonly hostArgv: readonly [string, ...string[]];
  readonly guestArgv: readonly [string, ...string[]];
}

/** The two commands of one copy. Pure. */
export function planCopyIn(copy: CopyIn, options: { readonly asRoot: boolean }): CopyInPlan {
  const contents = copy.source.endsWith('/.') || copy.source === '.';
  const source = path.resolve(copy.source);
  const folder = contents ? source : path.dirname(source);
  const base = contents ? '.' : path.basename(source);
  return {
    hostArgv: [
      'tar',
      ...['-C', folder, '--format=posix', '--sparse', '--numeric-owner'],
      // Times to the nanosecond; access times stay out of the archive.
      '--pax-option=delete=atime,delete=ctime',
      ...(options.asRoot ? [] : ['--owner=0', '--group=0']),
      ...['-cf', '-', '--', base],
    ],
    guestArgv: ['sh', '-c', GUEST_SCRIPT, 'copy-in', copy.destination, base],
  };
}

/** Copies; `guard` watches the guest meanwhile. */
export async function copyIn(
  copy: CopyIn,
  ctl: CtlClient,
  guard: <T>(work: Promise<T>, label: string) => Promise<T>,
): Promise<void> {
  const plan = planCopyIn(copy, { asRoot: process.getuid?.() === 0 });
  const what = `copying ${copy.source} to the guest's ${copy.destination}`;
  const tar = await Child.spawn({ label: 'tar', argv: plan.hostArgv, stdout: 'pipe' });
  try {
    const complaints: Buffer[] = [];
    const stderr = new Writable({
      write(chunk: Buffer, _encoding, done) {
        if (complaints.length < 16) complaints.push(chunk);
        done();
      },
    });
    const command = ctl.run(plan.guestArgv, { stdin: tar.stdout, stderr });
    const status = await guard(command.status, what);
    // An unread pipe would keep tar, and us, waiting.
    tar.stdout.destroy();
    if (status !== 0) {
      const said = Buffer.concat(complaints).toString('utf8').trim();
      throw new LabError(
        'LAB_GUEST_PROBLEM',
        `${what}: the guest's tar ended with status ${status}${said === '' ? '' : `: ${said}`}`,
        {
          next: "is there room on the guest's disk?",
        },
      );
    }
    const exit = await guard(tar.exited, what);
    if (exit.code !== 0) {
      throw new LabError('LAB_ENV_IO', `${what}: the host's tar ended with ${describeExit(exit)}: ${tar.outputTail()}`);
    }
  } finally {
    await tar.stop();
  }
}
