// SPDX-License-Identifier: MIT
/** Text for a terminal that may hold words of the guest's: error messages, notes, progress. */

/** What a terminal obeys or does not show; line ends and tabs stay. */
const UNSHOWN = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu;

/** The text with everything that could steer a terminal as `\xNN`, byte by byte. */
export function printable(text: string): string {
  return text.replace(UNSHOWN, (c) =>
    c === '\n' || c === '\t'
      ? c
      : [...Buffer.from(c)].map((byte) => `\\x${byte.toString(16).padStart(2, '0')}`).join(''),
  );
}
