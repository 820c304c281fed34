// SPDX-License-Identifier: MIT
/** A passphrase is never an argument, which every process list shows: it is typed unseen, or read from stdin. */
import { LabError } from '../util/errors.js';

const LIMIT_BYTES = 4096;

/** One line of stdin; at a terminal it is asked for on stderr, and not echoed. */
export async function readPassphrase(prompt: string): Promise<string> {
  const { stdin } = process;
  const isTerminal = stdin.isTTY === true;
  if (isTerminal) process.stderr.write(prompt);
  if (isTerminal) stdin.setRawMode(true);
  try {
    return await readLine(stdin);
  } finally {
    if (isTerminal) stdin.setRawMode(false);
    if (isTerminal) process.stderr.write('\n');
    stdin.pause();
  }
}

async function readLine(stdin: NodeJS.ReadStream): Promise<string> {
  const typed: number[] = [];
  const chunks = stdin.iterator({ destroyOnReturn: false }) as AsyncIterableIterator<Buffer>;
  for await (const chunk of chunks) {
    for (const [at, byte] of chunk.entries()) {
      if (byte === 0x0a || byte === 0x0d) {
        const rest = chunk.subarray(at + 1);
        if (rest.length > 0) stdin.unshift(rest);
        return decode(typed);
      }
      // In raw mode these are ours to obey: Ctrl-C, Ctrl-D, backspace.
      if (stdin.isTTY && byte === 0x03) throw new LabError('LAB_ABORTED', 'interrupted');
      if (stdin.isTTY && byte === 0x04) return decode(typed);
      if (stdin.isTTY && (byte === 0x7f || byte === 0x08)) dropLast(typed);
      else typed.push(byte);
      if (typed.length > LIMIT_BYTES) throw new LabError('LAB_USAGE', `a passphrase of more than ${LIMIT_BYTES} bytes`);
    }
  }
  return decode(typed);
}

/** A letter may have several bytes: those after the first begin with the bits 10. */
function dropLast(typed: number[]): void {
  while (((typed.pop() ?? 0) & 0xc0) === 0x80);
}

function decode(bytes: readonly number[]): string {
  return Buffer.from(bytes).toString('utf8');
}

/** Arguments as others may see them: without the passwords in URLs of databases. Pure. */
export function withoutPasswords(argv: readonly string[]): string[] {
  return argv.map((word) =>
    /^(--db=)?postgres(ql)?:\/\//i.test(word)
      ? word.replace(/(:\/\/[^:@/?]*:).*@/, '$1***@').replace(/([?&]password=)[^&]*/gi, '$1***')
      : word,
  );
}
