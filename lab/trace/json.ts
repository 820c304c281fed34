// SPDX-License-Identifier: MIT
/** The JSON form of trace data: 64-bit values as decimal strings, bytes as display text, nothing lost on the way. */
import { displayBytes } from './text.js';

/** Content bytes shown of a write; names and strings are always whole. */
const CONTENT_SHOWN_BYTES = 64;

/** Turns decoded trace data into what `JSON.stringify` takes; `data` (file content) is cut to a preview. */
export function toJsonValue(value: unknown, key = ''): unknown {
  if (typeof value === 'bigint') return value.toString();
  if (Buffer.isBuffer(value)) {
    if (key === 'uuid') return value.toString('hex');
    if (key === 'data' && value.length > CONTENT_SHOWN_BYTES)
      return `${displayBytes(value.subarray(0, CONTENT_SHOWN_BYTES))}…`;
    return displayBytes(value);
  }
  if (Array.isArray(value)) return value.map((item) => toJsonValue(item, key));
  if (typeof value === 'object' && value !== null)
    return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, toJsonValue(v, k)]));
  return value;
}
