// SPDX-License-Identifier: MIT
/** PostgreSQL: the one file that imports `pg`, at the first use. Whatever is read is text. */
import type pg from 'pg';
import { LabError, messageOf } from '../util/errors.js';
import type { Answer, Question } from './query.js';

export type PostgresCell = string | null;

/** Whether `--db` names a server's database and not a file. */
export function isPostgres(db: string): boolean {
  return /^postgres(ql)?:\/\//.test(db);
}

/** Connects; the message of an error does not hold the URL, in which a password may stand. */
export async function connect(url: string): Promise<pg.Client> {
  const { default: driver } = await import('pg');
  const client = new driver.Client({
    connectionString: url,
    // A number would become a double, or text, as its type is: all are text.
    types: { getTypeParser: () => (text: string) => text },
  });
  // One that is lost fails the next statement, which says so.
  client.on('error', () => {});
  try {
    await client.connect();
    return client;
  } catch (error) {
    throw new LabError(
      'LAB_ENV_MISSING',
      `connecting to PostgreSQL at ${client.host}:${client.port}: ${messageOf(error)}`,
      {
        cause: error,
        next: 'start the server, or check the URL of --db',
      },
    );
  }
}

/** A database of a server that is only read. */
export class PostgresQueries {
  readonly #client: pg.Client;

  private constructor(client: pg.Client) {
    this.#client = client;
  }

  static async open(url: string): Promise<PostgresQueries> {
    const client = await connect(url);
    await client.query('SET default_transaction_read_only = on');
    return new PostgresQueries(client);
  }

  async ask({ sql, bound }: Question): Promise<Answer> {
    const { fields, rows } = await this.#client.query<PostgresCell[]>({
      text: sql,
      values: [...bound],
      rowMode: 'array',
    });
    return { columns: fields.map(({ name }) => name), rows };
  }

  close(): Promise<void> {
    return this.#client.end();
  }
}
