// SPDX-License-Identifier: MIT
import { expect } from 'chai';
import { emitAbiHeader } from '../../lab/abi/emit-header.js';
import { findDrift } from '../../lab/abi/generate.js';
import { AT, canonicalSchema, KIND, layOut, OP, SIZE } from '../../lab/abi/layout.js';
import { KINDS, OPCODES, RECORD_STRUCTS, type StructDef, TLVS } from '../../lab/abi/records.js';

describe('record layout', () => {
  it('keeps the generated files in step with the tables', () => {
    expect(findDrift()).to.deep.equal([]);
  });

  it('puts the fields that others rely on where the format says', () => {
    expect(SIZE.lemona_subbuf).to.equal(96);
    expect(AT.lemona_subbuf.crc32c).to.equal(88);
    expect(SIZE.lemona_effect).to.equal(40);
    expect(AT.lemona_effect.seq).to.equal(16);
    expect(AT.lemona_dentry.name_len).to.equal(232);
    expect(SIZE.lemona_rename).to.equal(432);
    expect(AT.lemona_xattr.attr).to.equal(48);
    expect([KIND.EFFECT, OP.WRITE, OP.START]).to.deep.equal([9, 1, 21]);
  });

  it('refuses a hole, an unknown type and a wrong size, naming the field', () => {
    const struct = (fields: StructDef['fields'], size: number): StructDef[] => [{ name: 's', size, doc: '', fields }];
    expect(() =>
      layOut(
        struct(
          [
            { name: 'a', type: 'u8' },
            { name: 'b', type: 'u32' },
          ],
          8,
        ),
      ),
    ).to.throw(/s\.b would stand at 1/);
    expect(() => layOut(struct([{ name: 'a', type: 'struct nobody' }], 8))).to.throw(/s\.a has type struct nobody/);
    expect(() => layOut(struct([{ name: 'a', type: 'u32' }], 8))).to.throw(/s is 4 bytes.*says 8/);
    expect(() =>
      layOut(
        struct(
          [
            { name: 'a', type: 'u64' },
            { name: 'b', type: 'u32' },
          ],
          12,
        ),
      ),
    ).to.throw(/alignment 8/);
  });

  it('gives every number once, and every kind and opcode a struct that exists', () => {
    for (const table of [KINDS, OPCODES, TLVS]) expect(new Set(table.map((d) => d.value)).size).to.equal(table.length);
    const names = new Set<string>(RECORD_STRUCTS.map((s) => s.name));
    for (const { struct } of [...KINDS, ...OPCODES]) expect(names.has(struct)).to.equal(true);
  });

  it('hashes names, types and order, but no comments', () => {
    const schema = canonicalSchema();
    expect(schema).to.contain('struct lemona_attr 96');
    expect(schema).to.contain(' 16 u64 seq 1');
    expect(schema).not.to.contain('gap-free');
  });

  it('asserts every offset in C', () => {
    const header = emitAbiHeader();
    for (const { name, fields } of RECORD_STRUCTS)
      for (const field of fields)
        expect(header).to.contain(`static_assert(offsetof(struct ${name}, ${field.name}) == `);
  });
});
