// SPDX-License-Identifier: MIT
import { expect } from 'chai';
import { pollUntil, withDeadline } from '../../lab/util/deadline.js';
import { createLog } from '../../lab/util/log.js';
import { createProgress, formatElapsed } from '../../lab/util/progress.js';
import { Scope, withScope } from '../../lab/util/scope.js';
import { failureOf } from '../support/failure.js';

describe('a deadline', () => {
  const never = new Promise<never>(() => {});

  it('lets finished work through', async () => {
    expect(await withDeadline(Promise.resolve(7), { label: 'x', timeoutMs: 1000 })).to.equal(7);
  });

  it('says what was waited for and what was seen last', async () => {
    const error = await failureOf(
      withDeadline(never, { label: 'the hello', timeoutMs: 5, lastSeen: () => 'a prompt', code: 'LAB_VM_NO_HELLO' }),
    );
    expect(error.code).to.equal('LAB_VM_NO_HELLO');
    expect(error.message).to.equal('the hello: nothing within 0.005 s; last seen: a prompt');
  });

  it('obeys a signal, with or without a limit of time', async () => {
    const controller = new AbortController();
    const waiting = failureOf(
      withDeadline(never, { label: 'x', timeoutMs: Number.POSITIVE_INFINITY, signal: controller.signal }),
    );
    controller.abort();
    expect((await waiting).code).to.equal('LAB_ABORTED');
    expect(
      (await failureOf(withDeadline(never, { label: 'x', timeoutMs: 9, signal: controller.signal }))).code,
    ).to.equal('LAB_ABORTED');
  });

  it('polls until there is an answer or the time is over', async () => {
    let calls = 0;
    const found = await pollUntil(() => (++calls === 3 ? 'yes' : undefined), {
      label: 'x',
      timeoutMs: 1000,
      intervalMs: 1,
    });
    expect(found).to.equal('yes');
    const error = await failureOf(pollUntil(() => undefined, { label: 'x', timeoutMs: 3, intervalMs: 1 }));
    expect(error.code).to.equal('LAB_TIMEOUT');
  });
});

describe('a scope', () => {
  it('closes in reverse order, each closer even if another fails', async () => {
    const order: string[] = [];
    const scope = new Scope();
    scope.defer('a', () => void order.push('a'));
    scope.defer('b', () => {
      order.push('b');
      throw new Error('b broke');
    });
    scope.defer('c', async () => void order.push('c'));
    const errors = await scope.close();
    expect(order).to.deep.equal(['c', 'b', 'a']);
    expect(errors.map((error) => error.message)).to.deep.equal(['closing b failed']);
    expect(await scope.close()).to.deep.equal([]);
    expect(() => scope.defer('late', () => {})).to.throw("'late'");
  });

  it('prefers the error of the work to that of a closer', async () => {
    let seen: unknown;
    try {
      await withScope(async (scope) => {
        scope.defer('a', () => {
          throw new Error('closer');
        });
        throw new Error('work');
      });
    } catch (error) {
      seen = error;
    }
    expect((seen as Error).message).to.equal('work');
  });
});

describe('log and progress', () => {
  it('leave out what is below the level', () => {
    const lines: string[] = [];
    const log = createLog('warn', (line) => lines.push(line));
    log.info('no');
    log.warn('yes');
    expect(lines).to.deep.equal(['warning: yes\n']);
  });

  it('print a step once at start and once at its end where nothing can be redrawn', () => {
    let nowMs = 0;
    const parts: string[] = [];
    const progress = createProgress(
      { write: (part) => void parts.push(part), redraw: false },
      { now: () => nowMs, quietMs: 100 },
    );
    const step = progress.step('build');
    nowMs = 50;
    step.update('1/2');
    nowMs = 150;
    step.update('2/2');
    nowMs = 2000;
    step.done('ok');
    step.done('twice');
    expect(parts.join('')).to.equal('… build\n… build: 2/2 (150 ms)\n✓ build: ok (2.0 s)\n');
  });

  it('show times as a person would say them', () => {
    expect([12, 12_345, 245_000, 119_999].map(formatElapsed)).to.deep.equal([
      '12 ms',
      '12.3 s',
      '4 min 05 s',
      '2 min 00 s',
    ]);
  });
});
