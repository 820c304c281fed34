// SPDX-License-Identifier: MIT
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect } from 'chai';
import { silentLog } from '../../lab/util/log.js';
import { type AcceleratorDeps, chooseAccelerator, type ProbeGuest } from '../../lab/vm/accel.js';

const guest: ProbeGuest = { digest: 'k1', kernel: '/k', initrd: '/i', rootRaw: '/r' };

describe('the choice of the accelerator', () => {
  let folder: string;
  let deps: AcceleratorDeps;

  beforeEach(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'lemona-test-'));
    await writeFile(path.join(folder, 'kvm'), '');
    await writeFile(path.join(folder, 'boot_id'), 'boot-1\n');
    deps = {
      log: silentLog,
      cacheDir: folder,
      kvmDevice: path.join(folder, 'kvm'),
      bootIdFile: path.join(folder, 'boot_id'),
      qemuVersion: async () => '7.2.22',
      boot: async () => 900,
    };
  });

  afterEach(() => rm(folder, { recursive: true }));

  it('is TCG without a boot where there is no KVM', async () => {
    const boot = async () => {
      throw new Error('must not boot');
    };
    const choice = await chooseAccelerator(guest, { ...deps, boot, kvmDevice: path.join(folder, 'none') });
    expect(choice.accelerator).to.equal('tcg');
    expect(choice.why).to.match(/none is absent$/);
  });

  it('is KVM when a guest really booted under it', async () => {
    expect(await chooseAccelerator(guest, deps)).to.deep.equal({
      accelerator: 'kvm',
      why: 'a guest booted under KVM in 0.9 s',
    });
  });

  it('is TCG when KVM is there and no guest boots, and says what was seen', async () => {
    const boot = async () => {
      throw new Error('hello: nothing within 30 s\nthe console is empty');
    };
    const choice = await chooseAccelerator(guest, { ...deps, boot });
    expect(choice.accelerator).to.equal('tcg');
    expect(choice.why).to.match(/no guest booted under KVM: hello: nothing within 30 s$/);
  });

  it('is found out once for a host boot, a QEMU and a kernel', async () => {
    let boots = 0;
    const counting = { ...deps, boot: async () => ++boots };
    await chooseAccelerator(guest, counting);
    expect((await chooseAccelerator(guest, counting)).why).to.match(/found out earlier/);
    expect(boots).to.equal(1);
    await chooseAccelerator({ ...guest, digest: 'k2' }, counting);
    await chooseAccelerator(guest, { ...counting, qemuVersion: async () => '9.0' });
    await writeFile(path.join(folder, 'boot_id'), 'boot-2\n');
    await chooseAccelerator(guest, counting);
    expect(boots).to.equal(4);
  });
});
