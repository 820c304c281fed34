// SPDX-License-Identifier: MIT
import { expect } from 'chai';
import { CONFIG_NAMES, findConfig, RUN_CONFIGS } from '../../lab/run/configs.js';
import { parseCopyIn, planCopyIn } from '../../lab/run/copy-in.js';
import { LabError } from '../../lab/util/errors.js';

function codeOf(work: () => unknown): string {
  try {
    work();
  } catch (error) {
    return error instanceof LabError ? error.code : String(error);
  }
  return 'nothing was thrown';
}

describe('the configurations', () => {
  it("are the paper's twelve, and their names say what they are", () => {
    expect(CONFIG_NAMES).to.have.length(12);
    for (const [name, config] of Object.entries(RUN_CONFIGS)) {
      expect(name.startsWith('static'), name).to.equal(config.flavour === 'y');
      expect(name.startsWith('module'), name).to.equal(config.flavour === 'm');
      expect(name.includes('relay'), name).to.equal(config.relay);
      expect(name.includes('socket'), name).to.equal(config.socket);
      expect(name.includes('encrypted'), name).to.equal(config.encrypted);
      expect(config.records, name).to.equal(config.relay || config.socket);
    }
  });

  it('are found by name, and unknown ones are refused', () => {
    expect(codeOf(() => findConfig('nonsense'))).to.equal('LAB_CONFIG_UNKNOWN');
    expect(codeOf(() => findConfig('toString'))).to.equal('LAB_CONFIG_UNKNOWN');
    expect(findConfig('static-relay').flavour).to.equal('y');
  });
});

describe('--copy-in', () => {
  it('divides at the last colon and wants an absolute destination', () => {
    expect(parseCopyIn('a:b:/dst')).to.deep.equal({ source: 'a:b', destination: '/dst' });
    for (const text of ['', 'a', ':/dst', 'a:dst', 'a:']) {
      expect(
        codeOf(() => parseCopyIn(text)),
        text,
      ).to.equal('LAB_USAGE');
    }
  });

  it('packs a file under its own name, and a folder that ends in /. without it', () => {
    const one = planCopyIn({ source: '/src/tree', destination: '/dst' }, { asRoot: true });
    expect(one.hostArgv.slice(-2)).to.deep.equal(['--', 'tree']);
    expect(one.hostArgv).to.include('/src');
    expect(one.guestArgv.slice(-2)).to.deep.equal(['/dst', 'tree']);
    const contents = planCopyIn({ source: '/src/tree/.', destination: '/dst' }, { asRoot: true });
    expect(contents.hostArgv).to.include('/src/tree');
    expect(contents.guestArgv.slice(-2)).to.deep.equal(['/dst', '.']);
  });

  it("makes everything root's where the host's user is not root", () => {
    expect(planCopyIn({ source: '/a', destination: '/b' }, { asRoot: true }).hostArgv).not.to.include('--owner=0');
    expect(planCopyIn({ source: '/a', destination: '/b' }, { asRoot: false }).hostArgv).to.include('--owner=0');
  });
});
