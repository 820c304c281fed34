// SPDX-License-Identifier: MIT
/** Kernel configurations as maps: merged like scripts/kconfig/merge_config.sh, then checked. */
import { LabError } from '../lab/util/errors.js';

/** Symbol (without `CONFIG_`) to its value as written: `y`, `m`, `n`, `16`, `"text"`. */
export type Config = ReadonlyMap<string, string>;

/** Reads a .config or a fragment; `# CONFIG_X is not set` is `n`. */
export function parseConfig(text: string, name: string): Config {
  const config = new Map<string, string>();
  for (const [index, line] of text.split('\n').entries()) {
    const unset = /^# CONFIG_(\w+) is not set$/.exec(line);
    if (unset?.[1] !== undefined) {
      config.set(unset[1], 'n');
      continue;
    }
    if (line.trim() === '' || line.startsWith('#')) continue;
    const set = /^CONFIG_(\w+)=(.+)$/.exec(line.trim());
    if (set?.[1] === undefined || set[2] === undefined) {
      throw new LabError('LAB_KERNEL_BUILD', `${name}:${index + 1}: not a line of a kernel configuration: '${line}'`);
    }
    config.set(set[1], set[2]);
  }
  return config;
}

/** Later maps win, and their lines come last: of a choice's members, conf takes the last one that is `y`. */
export function mergeConfigs(...configs: readonly Config[]): Config {
  const merged = new Map<string, string>();
  for (const [symbol, value] of configs.flatMap((config) => [...config])) {
    merged.delete(symbol);
    merged.set(symbol, value);
  }
  return merged;
}

/** The text conf reads. */
export function formatConfig(config: Config): string {
  const lines = [...config].map(([symbol, value]) =>
    value === 'n' ? `# CONFIG_${symbol} is not set` : `CONFIG_${symbol}=${value}`,
  );
  return `${lines.join('\n')}\n`;
}

/** Wanted symbols that did not become what was wanted, as `CONFIG_X: wanted y, got n`. */
export function unmet(wanted: Config, got: Config): string[] {
  const problems: string[] = [];
  for (const [symbol, value] of wanted) {
    const seen = got.get(symbol) ?? 'n';
    if (seen !== value && !(value === '""' && seen === 'n'))
      problems.push(`CONFIG_${symbol}: wanted ${value}, got ${seen}`);
  }
  return problems;
}
