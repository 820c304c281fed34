// SPDX-License-Identifier: MIT
/**
 * Every running child of this process. Ordinary work closes its own children;
 * this is the net below it, for the second interrupt and for `process.exit`.
 */
interface Killable {
  readonly label: string;
  signal(signal: NodeJS.Signals): boolean;
}

const running = new Set<Killable>();
let exitHookInstalled = false;

export function registerChild(child: Killable): void {
  if (!exitHookInstalled) {
    exitHookInstalled = true;
    process.once('exit', () => killAllChildren());
  }
  running.add(child);
}

export function forgetChild(child: Killable): void {
  running.delete(child);
}

/** Labels of what still runs. */
export function runningChildren(): string[] {
  return [...running].map((child) => child.label);
}

/** SIGKILL to every group at once; used when nothing orderly is left to do. */
export function killAllChildren(): void {
  for (const child of running) {
    try {
      child.signal('SIGKILL');
    } catch {
      // One that cannot be killed must not keep the others alive.
    }
  }
}
