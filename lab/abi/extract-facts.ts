// SPDX-License-Identifier: MIT
/**
 * Reads numbers, names and argument counts of the x86 system calls from a kernel source tree and writes
 * `syscall-facts.txt`: `tsx lab/abi/extract-facts.ts SOURCE_TREE`. Needed only when the kernel version changes.
 */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** Folders that define system calls an x86 kernel can have. */
const SOURCE_FOLDERS = [
  'kernel',
  'fs',
  'mm',
  'net',
  'ipc',
  'security',
  'block',
  'io_uring',
  'drivers/char',
  'arch/x86',
];

/** Definitions that the macros below do not show, or show in several versions: entry → arguments, and why. */
const KNOWN_COUNTS: Readonly<Record<string, number>> = {
  compat_sys_sigreturn: 0, // DEFINE by another macro in arch/x86/kernel/signal_32.c
  compat_sys_rt_sigreturn: 0,
  sys_clone: 5, // three versions; x86 takes CONFIG_CLONE_BACKWARDS-less
  sys_sigsuspend: 3, // CONFIG_OLD_SIGSUSPEND3
  compat_sys_fanotify_mark: 6, // SYSCALL32_DEFINE with SC_ARG64
};

function* sourceFiles(folder: string): Generator<string> {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) yield* sourceFiles(path);
    else if (entry.name.endsWith('.c')) yield path;
  }
}

/** Argument counts by entry function, from the SYSCALL_DEFINEn macros. */
export function argumentCounts(sourceTree: string): Map<string, number> {
  const counts = new Map<string, number>();
  for (const folder of SOURCE_FOLDERS) {
    for (const path of sourceFiles(join(sourceTree, folder))) {
      for (const [, compat, digit, name] of readFileSync(path, 'utf8').matchAll(
        /^(COMPAT_)?SYSCALL_DEFINE(\d)\(\s*(\w+)/gm,
      ))
        counts.set(`${compat ? 'compat_' : ''}sys_${name}`, Number(digit));
    }
  }
  for (const [entry, count] of Object.entries(KNOWN_COUNTS)) counts.set(entry, count);
  return counts;
}

/** One line per call: ABI, number, name, argument count or "-". */
export function extractFacts(sourceTree: string): string[] {
  const counts = argumentCounts(sourceTree);
  const lines: string[] = [];
  for (const [file, isIa32] of [
    ['syscall_64.tbl', false],
    ['syscall_32.tbl', true],
  ] as const) {
    for (const line of readFileSync(join(sourceTree, 'arch/x86/entry/syscalls', file), 'utf8').split('\n')) {
      const [nr, abi, name, entry, compat] = (line.split('#')[0] ?? '').trim().split(/\s+/);
      if (!nr || !name) continue;
      const used = isIa32 && compat && compat !== '-' ? compat : entry;
      const count =
        used === undefined || used === 'sys_ni_syscall' ? '-' : (counts.get(isIa32 ? used : (entry ?? '')) ?? '?');
      lines.push(`${isIa32 ? 'ia32' : abi === 'x32' ? 'x32' : '64'} ${nr} ${name} ${count}`);
    }
  }
  return lines;
}

function main(sourceTree: string | undefined): number {
  if (!sourceTree) {
    process.stderr.write('usage: tsx lab/abi/extract-facts.ts KERNEL_SOURCE_TREE\n');
    return 2;
  }
  const head = [
    '# System calls of Linux 6.12 and their argument counts (-: not implemented).',
    '# Facts read from the kernel source by lab/abi/extract-facts.ts; the table is joined against them.',
  ];
  writeFileSync(
    new URL('./syscall-facts.txt', import.meta.url),
    `${[...head, ...extractFacts(sourceTree)].join('\n')}\n`,
  );
  return 0;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) process.exitCode = main(process.argv[2]);
