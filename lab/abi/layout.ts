// SPDX-License-Identifier: MIT
/**
 * Offsets and numbers of the record format, computed from the tables in `records.ts`. Throws on import if a
 * table breaks a rule of that file: there is nothing sensible to decode with a broken schema.
 */
import { crc32c } from '@node-rs/crc32';
import {
  type FieldDef,
  FLAG_GROUPS,
  IOCTL_STRUCTS,
  IOCTLS,
  KINDS,
  MAGIC,
  OPCODES,
  REC_KIND_SHIFT,
  RECORD_STRUCTS,
  type StructDef,
  SUBBUF_MAX,
  TLVS,
  VERSION,
  XATTR_REMOVED,
} from './records.js';

type AnyStruct = (typeof RECORD_STRUCTS)[number] | (typeof IOCTL_STRUCTS)[number];
export type StructName = AnyStruct['name'];
type FieldsOf<N extends StructName> = Extract<AnyStruct, { name: N }>['fields'][number]['name'];

export interface FieldLayout {
  readonly field: FieldDef;
  readonly offset: number;
  readonly size: number;
}

export interface StructLayout {
  readonly def: StructDef;
  readonly fields: readonly FieldLayout[];
  readonly size: number;
  readonly align: number;
}

const SCALARS: Readonly<Record<string, number>> = { u8: 1, char: 1, u16: 2, u32: 4, s32: 4, u64: 8, s64: 8 };

/**
 * Lays structs out as an x86-64 C compiler does.
 * @throws Error naming the struct and field that leaves a hole, is unknown, or whose size disagrees with the table
 */
export function layOut(defs: readonly StructDef[]): Map<string, StructLayout> {
  const done = new Map<string, StructLayout>();
  for (const def of defs) {
    let offset = 0;
    let align = 1;
    const fields: FieldLayout[] = [];
    for (const field of def.fields) {
      const inner = field.type.startsWith('struct ') ? done.get(field.type.slice(7)) : undefined;
      const unit = inner?.size ?? SCALARS[field.type];
      const unitAlign = inner?.align ?? unit;
      if (unit === undefined || unitAlign === undefined)
        throw new Error(`records.ts: ${def.name}.${field.name} has type ${field.type}, which is not defined before it`);
      if (offset % unitAlign !== 0)
        throw new Error(
          `records.ts: ${def.name}.${field.name} would stand at ${offset}, not a multiple of ${unitAlign}: add a pad field before it`,
        );
      const size = unit * (field.count ?? 1);
      fields.push({ field, offset, size });
      offset += size;
      align = Math.max(align, unitAlign);
    }
    if (offset !== def.size || offset % align !== 0)
      throw new Error(`records.ts: ${def.name} is ${offset} bytes with alignment ${align}; the table says ${def.size}`);
    done.set(def.name, { def, fields, size: offset, align });
  }
  return done;
}

/** Every struct's layout by name. */
export const LAYOUTS: ReadonlyMap<string, StructLayout> = layOut([...RECORD_STRUCTS, ...IOCTL_STRUCTS]);

type Offsets = { readonly [N in StructName]: { readonly [F in FieldsOf<N>]: number } };
type Sizes = { readonly [N in StructName]: number };

/** `AT.lemona_attr.size` is the offset of that field in that struct. */
export const AT = Object.fromEntries(
  [...LAYOUTS].map(([name, { fields }]) => [name, Object.fromEntries(fields.map((f) => [f.field.name, f.offset]))]),
) as Offsets;

/** `SIZE.lemona_attr` is the size of that struct's fixed part. */
export const SIZE = Object.fromEntries([...LAYOUTS].map(([name, { size }]) => [name, size])) as Sizes;

type NumberTable<T extends readonly { readonly name: string; readonly value: number }[]> = {
  readonly [D in T[number] as D['name']]: D['value'];
};
/** A table of names and numbers as an object: `KIND.EFFECT`. */
export function numbers<const T extends readonly { readonly name: string; readonly value: number }[]>(
  table: T,
): NumberTable<T> {
  return Object.fromEntries(table.map((d) => [d.name, d.value])) as NumberTable<T>;
}

export type KindName = (typeof KINDS)[number]['name'];
export type OpName = (typeof OPCODES)[number]['name'];
export type TlvName = (typeof TLVS)[number]['name'];
type FlagDef = (typeof FLAG_GROUPS)[number]['flags'][number];

/** Record kinds: `KIND.EFFECT`. */
export const KIND = numbers(KINDS);
/** Effect opcodes: `OP.WRITE`. */
export const OP = numbers(OPCODES);
/** TLV types: `TLV.PATH`. */
export const TLV = numbers(TLVS);
/** Flags and codes: `FLAG.VALID_MODE`. */
export const FLAG = Object.fromEntries(FLAG_GROUPS.flatMap((g) => g.flags.map((f) => [f.name, f.value]))) as {
  readonly [D in FlagDef as D['name']]: D['value'];
};

function namesOf<N extends string>(
  table: readonly { readonly name: N; readonly value: number }[],
): readonly (N | undefined)[] {
  const names: (N | undefined)[] = [];
  for (const { name, value } of table) names[value] = name;
  return names;
}
/** Kind number → name. */
export const KIND_NAMES: readonly (KindName | undefined)[] = namesOf(KINDS);
/** Opcode → name. */
export const OP_NAMES: readonly (OpName | undefined)[] = namesOf(OPCODES);
/** Of the opcodes there are. */
export const KNOWN_OPS: readonly OpName[] = OP_NAMES.filter((name) => name !== undefined);
/** TLV type → name. */
export const TLV_NAMES: readonly (TlvName | undefined)[] = namesOf(TLVS);

/** Mask of the size in the first word of a record. */
export const REC_SIZE_MASK = 2 ** REC_KIND_SHIFT - 1;

/** The schema as text, without comments: what LEMONA_ABI_HASH is computed over. */
export function canonicalSchema(): string {
  const lines = [
    `magic ${MAGIC}`,
    `version ${VERSION}`,
    `subbuf_max ${SUBBUF_MAX}`,
    `kind_shift ${REC_KIND_SHIFT}`,
    `removed ${XATTR_REMOVED}`,
  ];
  for (const { def, fields } of LAYOUTS.values()) {
    lines.push(`struct ${def.name} ${def.size}`);
    for (const { field, offset } of fields) lines.push(` ${offset} ${field.type} ${field.name} ${field.count ?? 1}`);
    if (def.tail) lines.push(` tail ${def.tail.type} ${def.tail.name}`);
  }
  for (const [group, table] of [
    ['kind', KINDS],
    ['op', OPCODES],
    ['tlv', TLVS],
    ...FLAG_GROUPS.map((g) => ['flag', g.flags] as const),
  ] as const)
    for (const { name, value } of table) lines.push(`${group} ${name} ${value}`);
  for (const io of IOCTLS) lines.push(`ioctl ${io.name} ${io.nr} ${io.dir} ${'struct' in io ? io.struct : ''}`);
  return `${lines.join('\n')}\n`;
}

/** CRC-32C of {@link canonicalSchema}: writer and reader must agree on it. */
export const ABI_HASH: number = crc32c(Buffer.from(canonicalSchema()));
