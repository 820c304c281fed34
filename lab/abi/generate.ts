// SPDX-License-Identifier: MIT
/**
 * Writes what is generated from the tables of this folder. `--check` writes nothing and fails if a committed file
 * differs, so that tables and generated files can't drift apart.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { emitCoverageDoc } from './emit-coverage.js';
import { emitFormatDoc } from './emit-docs.js';
import { emitAbiHeader } from './emit-header.js';
import { emitSyscallHeader } from './emit-syscalls.js';
import { emitWireDoc, emitWireHeader } from './emit-wire.js';
import { joinWithFacts } from './syscalls.js';

const ROOT = new URL('../../', import.meta.url);

/** Path below the repository's root → text. */
export const GENERATED: readonly { readonly path: string; readonly emit: () => string }[] = [
  { path: 'module/lemona_abi.h', emit: emitAbiHeader },
  { path: 'module/lemona_syscalls.h', emit: emitSyscallHeader },
  { path: 'module/lemona_wire.h', emit: emitWireHeader },
  { path: 'docs/format.md', emit: emitFormatDoc },
  { path: 'docs/wire.md', emit: emitWireDoc },
  { path: 'docs/coverage.md', emit: emitCoverageDoc },
];

/** Facts about the kernel's system calls, as committed. */
export function readSyscallFacts(): string {
  return readFileSync(new URL('lab/abi/syscall-facts.txt', ROOT), 'utf8');
}

/** @returns what is wrong: disagreements with the kernel's facts, then stale generated files */
export function findDrift(): string[] {
  const problems = joinWithFacts(readSyscallFacts());
  for (const { path, emit } of GENERATED) {
    let seen: string | undefined;
    try {
      seen = readFileSync(new URL(path, ROOT), 'utf8');
    } catch {
      problems.push(`${path}: missing; run npm run generate`);
      continue;
    }
    if (seen !== emit()) problems.push(`${path}: differs from what lab/abi generates; run npm run generate`);
  }
  return problems;
}

function main(args: readonly string[]): number {
  if (!args.includes('--check')) {
    const problems = joinWithFacts(readSyscallFacts());
    if (problems.length > 0) {
      process.stderr.write(`${problems.join('\n')}\n`);
      return 1;
    }
    for (const { path, emit } of GENERATED) writeFileSync(new URL(path, ROOT), emit());
  }
  const drift = findDrift();
  for (const line of drift) process.stderr.write(`${line}\n`);
  return drift.length === 0 ? 0 : 1;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) process.exitCode = main(process.argv.slice(2));
