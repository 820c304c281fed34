// SPDX-License-Identifier: MIT
/** What a man in the middle does to the messages of a connection. */
import type { Tap } from './sim-driver.js';

export const ATTACKS = ['altered', 'replayed', 'reordered'] as const;
export type Attack = (typeof ATTACKS)[number];

/** Harms the next message: its bytes, or it comes twice, or after those that follow it. */
export function tapFor(kind: Attack, alter: (bytes: Buffer) => void, onDone: () => void): Tap {
  let held: readonly Buffer[] = [];
  let isDone = false;
  return (messages) => {
    if (isDone) return messages;
    const [first, ...rest] = messages;
    if (first === undefined) return messages;
    if (kind === 'reordered' && held.length === 0) {
      held = messages;
      return [];
    }
    isDone = true;
    onDone();
    if (kind === 'replayed') return [first, first, ...rest];
    if (kind === 'reordered') return [...messages, ...held];
    const altered = Buffer.from(first);
    alter(altered);
    return [altered, ...rest];
  };
}
