// SPDX-License-Identifier: MIT
import path from 'node:path';
import { expect } from 'chai';
import fc from 'fast-check';
import { Packr } from 'msgpackr';
import { Db } from '../../lab/store/db.js';
import { storeContext, useStore } from '../harness/store.js';

const packr = new Packr({ useRecords: false });

/** What SQLite shows of a value: its type, and the value in digits that lose nothing. */
const SHOWN = `SELECT typeof(c0) AS type, CASE typeof(c0) WHEN 'real' THEN printf('%.17g', c0) ELSE CAST(c0 AS TEXT) END AS text
 FROM lemona_batch(?1, 1)`;

describe('the batch function of the database', () => {
  const folder = useStore();

  async function withDb<T>(use: (db: Db) => Promise<T>): Promise<T> {
    const db = await Db.open({ file: path.join(folder(), 'x.db') }, storeContext);
    try {
      return await use(db);
    } finally {
      await db.close();
    }
  }

  it('hands out every plain value as it was packed', () =>
    withDb(async (db) => {
      const values = [
        ...[
          0, 1, 127, 128, 255, 256, 65535, 65536, 0xffff_ffff, 0x1_0000_0000, -1, -32, -33, -128, -129, -32769,
          -2147483649,
        ],
        ...[
          Number.MAX_SAFE_INTEGER,
          Number.MIN_SAFE_INTEGER,
          2n ** 63n - 1n,
          -(2n ** 63n),
          2n ** 53n + 1n,
          1_700_000_000_123_456_789n,
        ],
        ...['', 'a', 'ü\u{1f600}', 'x'.repeat(31), 'x'.repeat(32), 'x'.repeat(300), 'x'.repeat(70_000)],
        ...[null, true, false, 0.5, -1.25e300],
      ];
      const rows = await db.all(SHOWN, [packr.pack(values)]);
      const wanted = values.map((value) => {
        if (value === null) return { type: 'null', text: null };
        if (typeof value === 'boolean') return { type: 'integer', text: value ? '1' : '0' };
        if (typeof value === 'string') return { type: 'text', text: value };
        if (typeof value === 'bigint' || (Number.isInteger(value) && Math.abs(value) < 2 ** 53))
          return { type: 'integer', text: String(value) };
        return { type: 'real', text: value === 0.5 ? '0.5' : rows.at(-1)?.text };
      });
      expect(rows).to.deep.equal(wanted);
      expect(Number(rows.at(-1)?.text)).to.equal(-1.25e300);
    }));

  it('makes rows of the width that is told', () =>
    withDb(async (db) => {
      const sql = 'SELECT c0, c1, c2 FROM lemona_batch(?1, 2)';
      expect(await db.all(sql, [packr.pack([1, 'a', 2, 'b'])])).to.deep.equal([
        { c0: 1, c1: 'a', c2: null },
        { c0: 2, c1: 'b', c2: null },
      ]);
    }));

  async function refusal(db: Db, blob: Buffer | null, width: number): Promise<string> {
    try {
      await db.all('SELECT c0 FROM lemona_batch(?1, ?2)', [blob, width]);
      return 'none';
    } catch (error) {
      return error instanceof Error ? error.message : String(error);
    }
  }

  it('refuses what is no array of plain values, and says why', () =>
    withDb(async (db) => {
      expect(await refusal(db, packr.pack([1, 2, 3]), 2)).to.match(/no multiple of the width/);
      expect(await refusal(db, packr.pack([1]), 0)).to.match(/width is out of range/);
      expect(await refusal(db, packr.pack([1]), 25)).to.match(/width is out of range/);
      expect(await refusal(db, packr.pack([[1]]), 1)).to.match(/no plain value/);
      expect(await refusal(db, packr.pack([{ a: 1 }]), 1)).to.match(/no plain value/);
      expect(await refusal(db, packr.pack(7), 1)).to.match(/no array/);
      expect(await refusal(db, null, 1)).to.match(/empty/);
      expect(await refusal(db, Buffer.concat([packr.pack([1]), Buffer.from([1])]), 1)).to.match(/left over/);
      expect(await refusal(db, packr.pack([2n ** 64n - 1n]), 1)).to.match(/63 bits/);
    }));

  it('refuses a blob that is cut anywhere', () =>
    withDb(async (db) => {
      const blob = packr.pack([1, 300, 70_000, 2n ** 40n, -5, 'text', 'x'.repeat(300), 1.5, null]);
      for (let length = 0; length < blob.length; length++)
        expect(await refusal(db, blob.subarray(0, length), 1), `${length} bytes`).to.match(/cut|empty/);
    }));

  it('survives any bytes', () =>
    withDb(async (db) => {
      await fc.assert(
        fc.asyncProperty(fc.uint8Array({ maxLength: 40 }), fc.integer({ min: 1, max: 24 }), async (bytes, width) => {
          await refusal(db, Buffer.from(bytes), width);
        }),
        { numRuns: 300 },
      );
      expect(await refusal(db, packr.pack([1]), 1)).to.equal('none');
    }));

  it('hands out rows of integers, or says that one is cut', () =>
    withDb(async (db) => {
      const row = Buffer.alloc(24);
      row.writeUInt32LE(2, 0);
      row.writeBigInt64LE(7n, 8);
      row.writeBigInt64LE(2n ** 62n + 1n, 16);
      const sql = 'SELECT c0, CAST(c1 AS TEXT) AS c1, c2 FROM lemona_rows(?1, 2)';
      expect(await db.all(sql, [row])).to.deep.equal([{ c0: null, c1: String(2n ** 62n + 1n), c2: null }]);
      expect(await db.all(sql, [Buffer.alloc(0)])).to.deep.equal([]);
      for (let length = 1; length < 24; length++) {
        const error = await db.all(sql, [row.subarray(0, length)]).catch((e: unknown) => e);
        expect(String(error), `${length} bytes`).to.match(/ends within a row/);
      }
    }));

  it('cannot be read without its arguments', () =>
    withDb(async (db) => {
      const error = await db.all('SELECT c0 FROM lemona_batch').catch((e: unknown) => e);
      expect(String(error)).to.match(/no query solution/);
    }));
});
