// SPDX-License-Identifier: MIT
import { printable } from './printable.js';

/** Human messages; always to stderr, so that stdout stays data. */
export interface Log {
  debug(message: string): void;
  info(message: string): void;
  warn(message: string): void;
  error(message: string): void;
}

export type LogLevel = 'debug' | 'info' | 'warn' | 'error' | 'silent';

const RANK: Record<LogLevel, number> = { debug: 0, info: 1, warn: 2, error: 3, silent: 4 };
const PREFIX: Record<Exclude<LogLevel, 'silent'>, string> = {
  debug: 'debug: ',
  info: '',
  warn: 'warning: ',
  error: 'error: ',
};

/** A log that passes whole lines at or above `level` to `write`; messages may hold words of a guest's. */
export function createLog(level: LogLevel, write: (line: string) => void): Log {
  const at = (own: Exclude<LogLevel, 'silent'>) => (message: string) => {
    if (RANK[own] >= RANK[level]) write(`${PREFIX[own]}${printable(message)}\n`);
  };
  return { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') };
}

/** A log on stderr. */
export function stderrLog(level: LogLevel = 'info'): Log {
  return createLog(level, (line) => process.stderr.write(line));
}

/** A log that says nothing, for tests and probes. */
export const silentLog: Log = createLog('silent', () => {});
