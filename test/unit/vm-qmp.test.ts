// SPDX-License-Identifier: MIT

import type { Socket } from 'node:net';
import { Duplex } from 'node:stream';
import { expect } from 'chai';
import { QmpClient, type QmpEvent } from '../../lab/vm/qmp.js';
import { failureOf } from '../support/failure.js';

const GREETING = '{"QMP": {"version": {"qemu": {"micro": 22, "minor": 2, "major": 7}}, "capabilities": []}}\n';

/** A QEMU that answers each command with what `answer` says; no process, no socket. */
class FakeQemu extends Duplex {
  readonly seen: string[] = [];
  readonly #answer: (command: string, id: number) => string | undefined;

  constructor(answer: (command: string, id: number) => string | undefined) {
    super();
    this.#answer = answer;
    this.push(GREETING);
  }

  override _read(): void {}

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    const { execute, id } = JSON.parse(chunk.toString()) as { execute: string; id: number };
    this.seen.push(execute);
    const answer = execute === 'qmp_capabilities' ? `{"return": {}, "id": ${id}}` : this.#answer(execute, id);
    if (answer !== undefined) this.push(`${answer}\n`);
    done();
  }

  get socket(): Socket {
    return this as unknown as Socket;
  }
}

describe('the QMP client', () => {
  it('negotiates, executes, and reports the version', async () => {
    const qemu = new FakeQemu((_command, id) => `{"return": {"status": "running"}, "id": ${id}}`);
    const qmp = await QmpClient.connect(qemu.socket);
    expect(await qmp.version).to.equal('7.2.22');
    expect(await qmp.execute('query-status')).to.deep.equal({ status: 'running' });
    expect(qemu.seen).to.deep.equal(['qmp_capabilities', 'query-status']);
  });

  it('names the command and the reason when QEMU refuses', async () => {
    const qemu = new FakeQemu(
      (_command, id) => `{"error": {"class": "GenericError", "desc": "no such node"}, "id": ${id}}`,
    );
    const error = await failureOf((await QmpClient.connect(qemu.socket)).execute('cont'));
    expect(error.code).to.equal('LAB_QMP_ERROR');
    expect(error.message).to.equal("QMP command 'cont' failed: no such node (GenericError)");
  });

  it('reassembles lines that arrive in pieces and passes events on', async () => {
    const qemu = new FakeQemu(() => undefined);
    const qmp = await QmpClient.connect(qemu.socket);
    const events: QmpEvent[] = [];
    qmp.onEvent((event) => events.push(event));
    for (const letter of '{"event": "SHUTDOWN", "data": {"guest": true}}\n{"event": "STOP"}\n') qemu.push(letter);
    await new Promise((resolve) => setImmediate(resolve));
    await new Promise((resolve) => setImmediate(resolve));
    expect(events).to.deep.equal([
      { event: 'SHUTDOWN', data: { guest: true } },
      { event: 'STOP', data: {} },
    ]);
    expect(qmp.lastEvent).to.equal('STOP');
  });

  it('names both states when it is used after the connection closed', async () => {
    const qemu = new FakeQemu(() => undefined);
    const qmp = await QmpClient.connect(qemu.socket);
    qemu.destroy();
    await qmp.closed;
    const error = await failureOf(qmp.execute('cont'));
    expect(error.code).to.equal('LAB_QMP_STATE');
    expect(error.message).to.match(/is 'closed', it must be 'ready'/);
  });

  it('fails a command that is running when the connection closes', async () => {
    const qemu = new FakeQemu(() => undefined);
    const qmp = await QmpClient.connect(qemu.socket);
    const waiting = failureOf(qmp.execute('cont'));
    qemu.destroy();
    expect((await waiting).message).to.match(/'cont': the connection closed/);
  });

  it('does not wait for an answer for ever', async () => {
    const qemu = new FakeQemu(() => undefined);
    const qmp = await QmpClient.connect(qemu.socket);
    expect((await failureOf(qmp.execute('cont', undefined, { timeoutMs: 5 }))).code).to.equal('LAB_QMP_TIMEOUT');
  });
});
