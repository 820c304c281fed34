// SPDX-License-Identifier: MIT
import { expect } from 'chai';
import { CONFIG_NAMES, findConfig, RUN_CONFIGS } from '../../lab/run/configs.js';
import { parseCopyIn, planCopyIn } from '../../lab/run/copy-in.js';
import { checkOptions, checkRequest, parseForward } from '../../lab/run/record-options.js';
import { LabError } from '../../lab/util/errors.js';
import { failureOf } from '../support/failure.js';

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

describe('what a run is asked for', () => {
  const plain = { config: 'static-relay', isDebug: false, isWitnessed: false };

  it('is refused before anything is built if it does not go together', async () => {
    for (const [request, why] of [
      [{ ...plain, smp: 65 }, /--smp 65: wanted 1 to 64/],
      [{ ...plain, memoryMiB: 64 }, /--memory 64: wanted at least 128 MiB/],
      [{ ...plain, config: 'vanilla', isDebug: true }, /--debug: configuration 'vanilla' has no driver/],
      [{ ...plain, config: 'vanilla', isWitnessed: true }, /--witness: configuration 'vanilla' keeps no record/],
      [{ ...plain, isWitnessed: true, accelerator: 'kvm' }, /--witness: .*KVM was asked for/],
      [{ ...plain, copyIn: [{ source: '/nowhere', destination: '/x' }] }, /\/nowhere can't be read/],
    ] as const) {
      const error = await failureOf(checkRequest(request));
      expect([error.exitStatus, error.message]).to.satisfy(
        ([status, text]: [number, string]) => status === 2 && why.test(text),
      );
    }
    expect((await checkRequest({ ...plain, isDebug: true, isWitnessed: true, accelerator: 'tcg' })).name).to.equal(
      'static-relay',
    );
  });

  it('needs a kernel of its flavour', async () => {
    const options = {
      ...{ runDir: '/r', config: 'module-relay', initramfs: '/i', command: ['true'] as const },
      image: { kind: 'tiny', digest: '', raw: '' },
      kernel: { flavour: 'y' as const, digest: '', release: '', bzImage: '', systemMap: '' },
    };
    expect((await failureOf(checkOptions(options))).message).to.match(/needs a kernel of flavour 'm', this one is 'y'/);
  });
});

describe('--forward', () => {
  it('takes two TCP ports, and nothing else', () => {
    expect(parseForward('8080:80')).to.deep.equal({ hostPort: 8080, guestPort: 80 });
    for (const text of ['', '80', '0:80', '80:65536', '127.0.0.1:80', '80:http', '1:2:3'])
      expect(
        codeOf(() => parseForward(text)),
        text,
      ).to.equal('LAB_USAGE');
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
