// SPDX-License-Identifier: MIT
import { expect } from 'chai';
import { describeError, exitStatusOf, ioError, LabError, throwIfAborted } from '../../lab/util/errors.js';

describe('errors', () => {
  it('give each code the exit status the command line promises', () => {
    expect(new LabError('LAB_USAGE', 'x').exitStatus).to.equal(2);
    expect(new LabError('LAB_DIFFERENCE', 'x').exitStatus).to.equal(1);
    expect(new LabError('LAB_ENV_DISK_FULL', 'x').exitStatus).to.equal(3);
    expect(exitStatusOf(new Error('anything else'))).to.equal(4);
  });

  it('print the chain of causes once, and the next step last', () => {
    const inner = Object.assign(new Error('ENOENT: gone'), { code: 'ENOENT' });
    const error = new LabError('LAB_ENV_IO', 'reading a file', { cause: inner, next: 'look for it' });
    expect(describeError(error).split('\n')).to.deep.equal([
      'LAB_ENV_IO: reading a file',
      '  because: ENOENT: gone',
      'next: look for it',
    ]);
  });

  it('end a chain of causes that bites its own tail', () => {
    const error = new Error('loop');
    error.cause = error;
    expect(describeError(error).split('\n')).to.have.length(8);
  });

  it('tell a full disk and a missing permission from other failures', () => {
    const fail = (code: string) => ioError('writing', Object.assign(new Error(code), { code })).code;
    expect(fail('ENOSPC')).to.equal('LAB_ENV_DISK_FULL');
    expect(fail('EROFS')).to.equal('LAB_ENV_PERMISSION');
    expect(fail('EIO')).to.equal('LAB_ENV_IO');
  });

  it('pass on the reason of an aborted signal', () => {
    const controller = new AbortController();
    throwIfAborted(controller.signal, 'work');
    controller.abort(new LabError('LAB_ENV_DISK_FULL', 'full'));
    expect(() => throwIfAborted(controller.signal, 'work')).to.throw(LabError, 'full');
  });
});
