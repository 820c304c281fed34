// SPDX-License-Identifier: MIT
import { expect } from 'chai';
import { KIND, OP } from '../../lab/abi/layout.js';
import { kindNames, kindOf } from '../../lab/store/kinds.js';
import { narrow, readSigned } from '../../lab/store/numbers.js';
import { parseQuestion } from '../../lab/store/query.js';
import { TABLES, tableOf } from '../../lab/store/schema.js';
import { createIndex, createTable, fillIn, insertBatch, updateBatch } from '../../lab/store/sql.js';
import { isPasswd, passwdLines } from '../../lab/store/users.js';
import { LabError } from '../../lab/util/errors.js';

describe('the schema as SQL', () => {
  it('differs between the dialects in the types alone', () => {
    const table = tableOf('texts');
    expect(createTable(table, 'sqlite')).to.equal(
      'CREATE TABLE IF NOT EXISTS texts(id INTEGER PRIMARY KEY, text TEXT NOT NULL) STRICT',
    );
    expect(createTable(table, 'postgres')).to.equal(
      'CREATE TABLE IF NOT EXISTS texts(id bigint PRIMARY KEY, text text NOT NULL)',
    );
  });

  it('indexes the digest of a text where a key may not be as long as that', () => {
    const index = { columns: ['text'], isUnique: true } as const;
    expect(createIndex(tableOf('texts'), index, 'postgres')).to.equal(
      'CREATE UNIQUE INDEX IF NOT EXISTS texts_text ON texts(md5(text))',
    );
  });

  it('adds the base to the times of a batch, and to nothing else', () => {
    expect(insertBatch('threads')).to.equal(
      'INSERT INTO threads SELECT c0, c1, c2, c3, CAST(?3 AS INTEGER) + c4, CAST(?3 AS INTEGER) + c5, c6 FROM lemona_batch(?1, ?2)',
    );
    expect(updateBatch('events', ['id', 'duration_ns'])).to.equal(
      'UPDATE events SET duration_ns = b.c1 FROM lemona_batch(?1, ?2) b WHERE events.id = b.c0',
    );
  });

  it('fills in parameters', () => {
    expect(fillIn('a = {text 1} AND b = {int 2}', 'sqlite')).to.equal(
      'a = CAST(?1 AS text) AND b = CAST(?2 AS INTEGER)',
    );
    expect(fillIn('a = {text 1} AND b = {int 2}', 'postgres')).to.equal(
      'a = CAST($1 AS text) AND b = CAST($2 AS bigint)',
    );
  });

  it('refers only to tables that there are', () => {
    const names = new Set<string>(TABLES.map(({ name }) => name));
    for (const { name } of TABLES)
      for (const { name: column, refs } of tableOf(name).columns)
        if (refs !== undefined) expect(names.has(refs), `${name}.${column} → ${refs}`).to.equal(true);
  });

  it('indexes only columns that there are', () => {
    for (const { name } of TABLES) {
      const { columns, indexes } = tableOf(name);
      for (const index of indexes) expect(columns.map((column) => column.name)).to.include.members([...index.columns]);
    }
  });
});

describe('a question', () => {
  const refused = (words: readonly string[]): string => {
    try {
      parseQuestion(words);
      return 'none';
    } catch (error) {
      return error instanceof LabError ? `${error.code}: ${error.message}` : String(error);
    }
  };

  it('is a named query with its operands', () => {
    const { sql, bound } = parseQuestion(['changed', "/etc/it's"]);
    expect(sql).to.match(/t\.text = CAST\(\?1 AS text\)/);
    expect(bound).to.deep.equal(["/etc/it's"]);
  });

  it('is a SELECT', () => {
    expect(parseQuestion([' select 1 ']).sql).to.equal(' select 1 ');
  });

  it('is refused if it is anything else', () => {
    expect(refused(['changed'])).to.equal('LAB_USAGE: query changed: 0 operands, wanted PATH');
    expect(refused(['did', 'x'])).to.equal("LAB_USAGE: query did: PID 'x': wanted a number");
    expect(refused(['DELETE FROM events'])).to.match(/no named query, and no SELECT/);
    expect(refused(['select 1', 'x'])).to.match(/SQL is one operand/);
  });
});

describe('numbers in the database', () => {
  it('are doubles only where those are exact', () => {
    for (const value of [
      0n,
      1n,
      -1n,
      2n ** 53n - 1n,
      2n ** 53n,
      2n ** 53n + 1n,
      -(2n ** 53n),
      -(2n ** 53n) - 1n,
      2n ** 63n - 1n,
      -(2n ** 63n),
    ]) {
      const buf = Buffer.alloc(8);
      buf.writeBigInt64LE(value);
      expect(BigInt(readSigned(buf, 0)), `${value}`).to.equal(value);
      expect(BigInt(narrow(value)), `${value}`).to.equal(value);
    }
  });

  it('name a kind by what the record says', () => {
    expect(kindNames(kindOf(KIND.ENTRY, 257, 0))).to.deep.equal(['ENTRY', 'openat']);
    expect(kindNames(kindOf(KIND.EXIT, 257, 0))).to.deep.equal(['ENTRY', 'openat']);
    expect(kindNames(kindOf(KIND.ENTRY, 5, 1))).to.deep.equal(['ENTRY', 'ia32:open']);
    expect(kindNames(kindOf(KIND.EFFECT, OP.RENAME, 0))).to.deep.equal(['EFFECT', 'RENAME']);
    expect(kindNames(kindOf(KIND.SWITCH, 9, 9))).to.deep.equal(['SWITCH', 'switch']);
    expect(kindNames(kindOf(63, 9, 9))).to.deep.equal(['kind 63', 'kind 63']);
  });
});

describe('names of users', () => {
  it('are in whole lines of /etc/passwd', () => {
    expect(
      passwdLines('root:x:0:0:root:/root:/bin/bash\nbad line\neve:x:1001:1001::/home/eve:/bin/sh\ncut:x:1', 0),
    ).to.deep.equal([
      { name: 'root', uid: 0, isLater: false },
      { name: 'eve', uid: 1001, isLater: false },
    ]);
  });

  it('may be cut where a write begins in the middle of the file', () => {
    expect(passwdLines('ve:x:1001:1001::/home/eve:/bin/sh\n', 500)).to.deep.equal([
      { name: 've', uid: 1001, isLater: true },
    ]);
  });

  it('come from that file, and from what is renamed to it', () => {
    expect(
      ['/etc/passwd', '/etc/passwd+', '/etc/passwd.edit', '/etc/npasswd', '/etc/passwd.1234'].every(isPasswd),
    ).to.equal(true);
    expect(['/etc/shadow', '/tmp/etc/passwd', '/etc/passwd-', '/etc/passwds'].some(isPasswd)).to.equal(false);
  });
});
