// SPDX-License-Identifier: MIT
import Table from 'cli-table3';

type Cell = string | number | bigint;

/** A table without lines, its first column to the left and the others as told. */
export function plainTable(
  head: readonly string[],
  rows: readonly (readonly Cell[])[],
  others: 'left' | 'right' = 'left',
): string {
  const none = '';
  const drawn = new Table({
    head: [...head],
    colAligns: head.map((_name, index) => (index === 0 ? 'left' : others)),
    style: { head: [], border: [], 'padding-left': 0, 'padding-right': 2 },
    chars: Object.fromEntries(
      [
        ...['top', 'top-mid', 'top-left', 'top-right', 'bottom', 'bottom-mid', 'bottom-left', 'bottom-right'],
        ...['left', 'left-mid', 'mid', 'mid-mid', 'right', 'right-mid', 'middle'],
      ].map((name) => [name, none]),
    ),
  });
  for (const row of rows) drawn.push(row.map(String));
  return drawn
    .toString()
    .split('\n')
    .map((line) => line.trimEnd())
    .join('\n');
}
