// SPDX-License-Identifier: MIT
/**
 * The wire's messages as bytes and as values. Every offset comes from the tables of `lab/abi/wire.ts`, which
 * `docs/wire.md` is made of; nothing of a layout is said here again.
 */
import { numbers } from '../abi/layout.js';
import { WIRE_FRAMES, WIRE_LAYOUTS, WIRE_MODES, WIRE_STATUSES, WIRE_STRUCTS } from '../abi/wire.js';
import { hmac } from './noise.js';

type WireStruct = (typeof WIRE_STRUCTS)[number];
export type WireName = WireStruct['name'];
type FieldOf<N extends WireName> = Extract<WireStruct, { name: N }>['fields'][number];
type ValueOf<F> = F extends { type: 'u64' }
  ? bigint
  : F extends { type: 'char' }
    ? string
    : F extends { type: 'u8' }
      ? Buffer
      : number;
/** Every field of a message: text without its padding, bytes, or numbers. */
export type WireValues<N extends WireName> = { [F in FieldOf<N> as F['name']]: ValueOf<F> };

export const FRAME = numbers(WIRE_FRAMES);
export const MODE = numbers(WIRE_MODES);
export const STATUS = numbers(WIRE_STATUSES);
export type StatusName = keyof typeof STATUS;

export const WIRE_SIZE = Object.fromEntries(WIRE_STRUCTS.map((s) => [s.name, s.size])) as {
  readonly [S in WireStruct as S['name']]: S['size'];
};

/** Name of a status, `status 77` for one that is not known. */
export function statusName(status: number): string {
  return WIRE_STATUSES.find((s) => s.value === status)?.name ?? `status ${status}`;
}

type AnyValue = bigint | string | Buffer | number;

function layoutOf(name: WireName) {
  const layout = WIRE_LAYOUTS.get(name);
  if (layout === undefined) throw new Error(`wire: no struct ${name}`);
  return layout;
}

/** A message; fields that are left out are zero. */
export function packWire<N extends WireName>(name: N, values: Partial<WireValues<N>>): Buffer {
  const { size, fields } = layoutOf(name);
  const buf = Buffer.alloc(size);
  const given = values as Readonly<Record<string, AnyValue | undefined>>;
  for (const { field, offset, size: bytes } of fields) {
    const value = given[field.name];
    if (value === undefined) continue;
    if (typeof value === 'bigint') buf.writeBigUInt64LE(value, offset);
    else if (typeof value === 'number') buf.writeUIntLE(value, offset, bytes);
    else {
      const raw = typeof value === 'string' ? Buffer.from(value, 'latin1') : value;
      if (raw.length > bytes) throw new Error(`wire: ${name}.${field.name} takes ${bytes} bytes, not ${raw.length}`);
      raw.copy(buf, offset);
    }
  }
  return buf;
}

/** The values of a message that begins at `at`; bytes are views. */
export function unpackWire<N extends WireName>(name: N, buf: Buffer, at = 0): WireValues<N> {
  const values: Record<string, AnyValue> = {};
  for (const { field, offset, size } of layoutOf(name).fields) {
    const from = at + offset;
    if (field.type === 'u64') values[field.name] = buf.readBigUInt64LE(from);
    else if (field.type === 'u8') values[field.name] = buf.subarray(from, from + size);
    else if (field.type === 'char') values[field.name] = buf.toString('latin1', from, from + size).replace(/\0+$/, '');
    else values[field.name] = buf.readUIntLE(from, size);
  }
  return values as WireValues<N>;
}

/** A frame of these parts, as buffers to be written one after another. */
export function frame(type: number, ...body: readonly Buffer[]): Buffer[] {
  const length = body.reduce((sum, part) => sum + part.length, 0);
  return [packWire('lemona_wire_frame', { length, type }), ...body];
}

/** How far streams are: `next` of each CPU. */
export type Streams = ReadonlyMap<number, bigint>;

export function packStreams(streams: Iterable<readonly [number, bigint]>): Buffer {
  return Buffer.concat([...streams].map(([cpu, next]) => packWire('lemona_wire_stream', { cpu, next })));
}

/** @returns undefined if the bytes are no list of streams */
export function unpackStreams(buf: Buffer): Map<number, bigint> | undefined {
  if (buf.length % WIRE_SIZE.lemona_wire_stream !== 0) return undefined;
  const streams = new Map<number, bigint>();
  // There may be thousands of them.
  const at = new Map(layoutOf('lemona_wire_stream').fields.map(({ field, offset }) => [field.name, offset]));
  const [cpu = 0, next = 0] = [at.get('cpu'), at.get('next')];
  for (let from = 0; from < buf.length; from += WIRE_SIZE.lemona_wire_stream)
    streams.set(buf.readUInt32LE(from + cpu), buf.readBigUInt64LE(from + next));
  return streams;
}

/** Where a stream ends: behind the last sub-buffer that this server was to have, and behind the last that was made. */
export interface StreamEnd {
  readonly next: bigint;
  readonly all: bigint;
}

export type StreamEnds = ReadonlyMap<number, StreamEnd>;

/** END's content. */
export function packEnds(ends: Iterable<readonly [number, StreamEnd]>): Buffer {
  return Buffer.concat([...ends].map(([cpu, end]) => packWire('lemona_wire_end', { cpu, ...end })));
}

/** @returns undefined if the bytes are no list of ends, or one that contradicts itself */
export function unpackEnds(buf: Buffer): Map<number, StreamEnd> | undefined {
  const { lemona_wire_end: size } = WIRE_SIZE;
  const ends = new Map<number, StreamEnd>();
  for (let from = 0; from < buf.length; from += size) {
    if (buf.length - from < size) return undefined;
    const { cpu, next, all } = unpackWire('lemona_wire_end', buf.subarray(from, from + size));
    if (next > all || ends.has(cpu)) return undefined;
    ends.set(cpu, { next, all });
  }
  return ends;
}

/** A REFUSED frame. */
export function refusal(status: number): Buffer[] {
  const body = Buffer.alloc(8);
  body.writeUInt32LE(status);
  return frame(FRAME.REFUSED, body);
}

/** In mode PLAIN, that a side has the key. */
export function plainProof(side: 'driver' | 'server', key: Buffer, hello: Buffer, challenge: Buffer): Buffer {
  return hmac(key, Buffer.from(`lemona plain ${side}`), hello, challenge);
}
