// SPDX-License-Identifier: MIT
import { expect } from 'chai';
import fc from 'fast-check';
import { codeSections } from '../../guest-kernel/elf.js';
import { compareText } from '../../guest-kernel/elf-tree.js';

interface Piece {
  readonly name: string;
  readonly bytes: Buffer;
  readonly executable: boolean;
}

/** A small ELF-64 with these sections. */
function elf(pieces: readonly Piece[]): Buffer {
  const names = Buffer.from(`\0${['.shstrtab', ...pieces.map((piece) => piece.name)].join('\0')}\0`);
  const all = [{ name: '.shstrtab', bytes: names, executable: false }, ...pieces];
  const header = Buffer.alloc(64);
  header.writeUInt32BE(0x7f454c46, 0);
  header[4] = 2;
  header[5] = 1;
  const table = [Buffer.alloc(64)];
  let at = 64;
  for (const { name, bytes, executable } of all) {
    const row = Buffer.alloc(64);
    row.writeUInt32LE(names.indexOf(`\0${name}\0`) + 1, 0);
    row.writeUInt32LE(1, 4);
    row.writeBigUInt64LE(executable ? 6n : 2n, 8);
    row.writeBigUInt64LE(BigInt(at), 24);
    row.writeBigUInt64LE(BigInt(bytes.length), 32);
    table.push(row);
    at += bytes.length;
  }
  header.writeBigUInt64LE(BigInt(at), 40);
  header.writeUInt16LE(64, 58);
  header.writeUInt16LE(table.length, 60);
  header.writeUInt16LE(1, 62);
  return Buffer.concat([header, ...all.map((piece) => piece.bytes), ...table]);
}

const text = (bytes: Buffer): Piece => ({ name: '.text', bytes, executable: true });

describe('machine code of ELF files', () => {
  it('finds executable sections only, with their names', () => {
    const file = elf([
      { name: '.data', bytes: Buffer.from('data'), executable: false },
      text(Buffer.from('code')),
      { name: '.init.text', bytes: Buffer.from('start'), executable: true },
    ]);
    expect(codeSections(file)?.map(({ name, sizeBytes }) => [name, sizeBytes])).to.deep.equal([
      ['.text', 4],
      ['.init.text', 5],
    ]);
  });

  it('calls what is no ELF-64 little-endian file undefined', () => {
    expect(codeSections(Buffer.from('#!/bin/sh\n'))).to.equal(undefined);
    expect(codeSections(Buffer.alloc(0))).to.equal(undefined);
    const big = elf([text(Buffer.from('code'))]);
    big[5] = 2;
    expect(codeSections(big)).to.equal(undefined);
  });

  it('does not take a cut file for a shorter one', () => {
    const file = elf([text(Buffer.alloc(64, 0x90))]);
    for (let length = 0; length < file.length; length++) {
      expect(codeSections(file.subarray(0, length)), `cut at ${length}`).to.equal(undefined);
    }
  });

  it('reports every single changed byte of code, and no changed byte of data', () => {
    const code = Buffer.from('0123456789abcdef');
    const data = Buffer.from('fedcba9876543210');
    const of = (a: Buffer, b: Buffer) => ({
      files: { vmlinux: codeSections(elf([{ name: '.data', bytes: b, executable: false }, text(a)])) ?? [] },
    });
    fc.assert(
      fc.property(fc.nat(code.length - 1), fc.integer({ min: 1, max: 255 }), (at, flip) => {
        const other = Buffer.from(code);
        other[at] = (other[at] ?? 0) ^ flip;
        expect(compareText(of(code, data), of(other, data)).differences).to.have.length(1);
        const moved = Buffer.from(data);
        moved[at] = (moved[at] ?? 0) ^ flip;
        expect(compareText(of(code, data), of(code, moved)).differences).to.have.length(0);
      }),
    );
  });

  it('reports an object, a section or a byte that only one side has', () => {
    const section = (name: string, bytes: string) =>
      codeSections(elf([{ name, bytes: Buffer.from(bytes), executable: true }])) ?? [];
    const a = { files: { 'a.o': section('.text', 'aa'), 'b.o': section('.text', 'bb') } };
    expect(compareText(a, { files: { 'a.o': section('.text', 'aa') } }).differences[0]?.file).to.equal('b.o');
    const longer = { files: { ...a.files, 'b.o': section('.text', 'bbb') } };
    expect(compareText(a, longer).differences[0]?.what).to.equal('2 bytes in vanilla, 3 in the other');
    const renamed = { files: { ...a.files, 'b.o': section('.text.hot', 'bb') } };
    expect(compareText(a, renamed).differences).to.have.length(1);
    expect(compareText(a, a)).to.deep.include({ files: 2, sections: 2, bytes: 4 });
  });
});
