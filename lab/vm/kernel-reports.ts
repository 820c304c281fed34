// SPDX-License-Identifier: MIT
/** What a kernel prints when it finds fault with itself, on any console: crashes, and the reports of its checkers. */

interface Head {
  readonly kind: string;
  readonly pattern: RegExp;
  /** The kernel can't be trusted to record any more. */
  readonly isFatal: boolean;
}

/** First lines of reports; the first row that matches names it. */
const HEADS: readonly Head[] = [
  { kind: 'panic', pattern: /Kernel panic - not syncing/, isFatal: true },
  { kind: 'oops', pattern: /\bOops: /, isFatal: true },
  { kind: 'KASAN', pattern: /\bBUG: KASAN: |\bKASAN: /, isFatal: true },
  { kind: 'sleep in atomic context', pattern: /\bBUG: (?:sleeping function|scheduling while atomic)/, isFatal: true },
  { kind: 'BUG', pattern: /\bBUG: |\bkernel BUG at /, isFatal: true },
  { kind: 'lockdep', pattern: /\bWARNING: possible circular locking/, isFatal: true },
  // All others of lockdep's, of which there are many, begin with words in small letters.
  { kind: 'lockdep', pattern: /\bWARNING: (?!CPU: )[a-z]|\bWARNING: \S+-safe -> /, isFatal: false },
  { kind: 'lockdep', pattern: /INFO: (?:lockdep is turned off|trying to register non-static key)/, isFatal: false },
  { kind: 'warning', pattern: /\bWARNING: CPU: /, isFatal: false },
  { kind: 'stall', pattern: /INFO: (?:task .* blocked for more than|rcu_\w+ .*stall)/, isFatal: false },
  { kind: 'reference count', pattern: /\brefcount_t: /, isFatal: false },
  { kind: 'kmemleak', pattern: /kmemleak: (?:Kernel memory leak detector disabled|Cannot )/, isFatal: false },
];

/** Lines of a report kept, its first one included. */
export const REPORT_LINES = 60;

/** Terminal escapes and carriage returns. */
export const ESCAPES = /\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b[@-_]|\r/g;

export interface KernelReport {
  readonly kind: string;
  readonly text: string;
}

/** The kernel can't be trusted to record after a line like this. Pure. */
export function isLastWords(line: string): boolean {
  return HEADS.some(({ pattern, isFatal }) => isFatal && pattern.test(line));
}

/** Every report in a console's text, each with what follows it up to the next one. Pure. */
export function reportsOf(consoleText: string): KernelReport[] {
  const reports: { kind: string; lines: string[] }[] = [];
  for (const line of consoleText.replaceAll(ESCAPES, '').split('\n')) {
    const head = HEADS.find(({ pattern }) => pattern.test(line));
    const last = reports.at(-1);
    if (head !== undefined) reports.push({ kind: head.kind, lines: [line] });
    else if (last !== undefined && last.lines.length < REPORT_LINES) last.lines.push(line);
  }
  return reports.map(({ kind, lines }) => ({ kind, text: lines.join('\n').trimEnd() }));
}
