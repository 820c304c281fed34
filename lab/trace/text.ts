// SPDX-License-Identifier: MIT
/** Bytes of the guest as text that cannot harm a terminal: pure functions. */

// Without ignoreBOM a name that begins with a byte order mark would look like the one without.
const UTF8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/**
 * Controls (C0, DEL, C1), invisible marks (of direction, joiners, byte order, tags), line and paragraph separators, and
 * code points that are private or nobody's.
 */
const UNSHOWN = /[\p{Cc}\p{Cf}\p{Co}\p{Cn}\p{Zl}\p{Zp}\\]/gu;

/**
 * A name or string for people: valid UTF-8 stays, and what a terminal obeys or does not show, backslash, and bytes that
 * are no UTF-8 become `\xNN`, so that different bytes never give the same text.
 */
export function displayBytes(bytes: Uint8Array): string {
  let text: string;
  try {
    text = UTF8.decode(bytes);
  } catch {
    return [...bytes].map((b) => (b >= 0x20 && b < 0x7f && b !== 0x5c ? String.fromCharCode(b) : hexByte(b))).join('');
  }
  return text.replace(UNSHOWN, (c) => [...Buffer.from(c)].map(hexByte).join(''));
}

function hexByte(byte: number): string {
  return `\\x${byte.toString(16).padStart(2, '0')}`;
}

/** `2026-01-02T03:04:05.123456789Z` from ns since 1970. */
export function isoFromNs(ns: bigint): string {
  let seconds = ns / 1_000_000_000n;
  let rest = ns % 1_000_000_000n;
  if (rest < 0n) {
    seconds -= 1n;
    rest += 1_000_000_000n;
  }
  // JavaScript's dates end 8.64e15 ms after 1970.
  if (seconds > 8_640_000_000_000n || seconds < -8_640_000_000_000n) return `${ns}ns`;
  return `${new Date(Number(seconds) * 1000).toISOString().slice(0, -5)}.${String(rest).padStart(9, '0')}Z`;
}

/** `-rwsr-xr-x` style is `stat`'s; here: octal with the type, as `0104755`. */
export function octalMode(mode: number): string {
  return `0${mode.toString(8).padStart(6, '0')}`;
}

/** `8:1` from new_encode_dev(). */
export function deviceText(dev: number): string {
  return `${(dev >>> 8) & 0xfff}:${(dev & 0xff) | ((dev >>> 12) & 0xfff00)}`;
}

/** What stands before a path of a device that is not the root file system's; no name of a file can be taken for it. */
export function devicePrefix(dev: number): string {
  return `[dev ${deviceText(dev)}]`;
}
