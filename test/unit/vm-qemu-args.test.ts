// SPDX-License-Identifier: MIT
import { expect } from 'chai';
import { type QemuArgsSpec, qemuArgs } from '../../lab/vm/qemu-args.js';

const spec: QemuArgsSpec = {
  name: 'a,b',
  accelerator: 'tcg',
  smp: 2,
  memoryMiB: 512,
  kernel: '/k/bzImage',
  initrd: '/k/initrd',
  append: ['lemona.start=1'],
  disks: [{ nodeName: 'disk0', path: '/r/a,b.qcow2', format: 'qcow2' }],
  endpoints: {
    kind: 'sockets',
    ports: [{ name: 'lemona.ctl', socketPath: '/s/lemona.ctl' }],
    qmpSocketPath: '/s/qmp',
    consoleSocketPath: '/s/console',
    consoleLogPath: '/r/console.log',
  },
  extraArgs: ['-m', '1G'],
};

/** Values of an option, in order. */
function valuesOf(args: readonly string[], option: string): string[] {
  return args.flatMap((arg, index) => (arg === option ? [args[index + 1] ?? ''] : []));
}

describe("QEMU's arguments", () => {
  it('start paused and end instead of rebooting', () => {
    expect(qemuArgs(spec)).to.include.members(['-S', '-no-reboot', '-nodefaults', '-no-user-config']);
  });

  it('give a network to a guest that has a server, and to no other', () => {
    expect(qemuArgs(spec).join(' ')).not.to.match(/netdev|virtio-net/);
    const network = { hostPorts: [4711, 4712], forwards: [{ hostPort: 8080, guestPort: 80 }] };
    const [netdev = ''] = valuesOf(qemuArgs({ ...spec, network }), '-netdev');
    expect(netdev).to.match(/^user,id=net0,restrict=on,/);
    expect(netdev).to.include(',guestfwd=tcp:10.0.2.100:7021-cmd:busybox nc 127.0.0.1 4711');
    expect(netdev).to.include(',guestfwd=tcp:10.0.2.101:7021-cmd:busybox nc 127.0.0.1 4712');
    expect(netdev).to.include(',hostfwd=tcp:127.0.0.1:8080-10.0.2.15:80');
  });

  it('keep the memory of a guest that is off, if that may be wanted', () => {
    expect(valuesOf(qemuArgs(spec), '-action')).to.deep.equal([]);
    expect(valuesOf(qemuArgs({ ...spec, keepsMemory: true }), '-action')).to.deep.equal(['shutdown=pause']);
  });

  it('use one thread per vCPU only where there is more than one', () => {
    expect(valuesOf(qemuArgs(spec), '-accel')).to.deep.equal(['tcg,thread=multi']);
    expect(valuesOf(qemuArgs({ ...spec, smp: 1 }), '-accel')).to.deep.equal(['tcg,thread=single']);
    expect(valuesOf(qemuArgs({ ...spec, accelerator: 'kvm' }), '-accel')).to.deep.equal(['kvm']);
    expect(valuesOf(qemuArgs({ ...spec, accelerator: 'kvm' }), '-cpu')).to.deep.equal(['host']);
  });

  it('tell an emulated kernel, and no other, that its clock is reliable', () => {
    const appended = (accelerator: 'tcg' | 'kvm') => valuesOf(qemuArgs({ ...spec, accelerator }), '-append')[0];
    expect(appended('tcg')).to.include('tsc=reliable');
    expect(appended('kvm')).not.to.include('tsc=reliable');
  });

  it('gives a guest that patches running code a single TCG thread', () => {
    const args = qemuArgs({ ...spec, patchesRunningCode: true });
    expect(valuesOf(args, '-accel')).to.deep.equal(['tcg,thread=single']);
    expect(valuesOf(qemuArgs({ ...spec, hasOneThread: true }), '-accel')).to.deep.equal(['tcg,thread=single']);
  });

  it('load a plugin with its arguments, but not by hand', () => {
    const plugin = { file: '/c/w,1.so', args: { counts: '/r/a,b.bin', entry64: 'ffffffff81800040' } };
    expect(valuesOf(qemuArgs({ ...spec, plugin }), '-plugin')).to.deep.equal([
      'file=/c/w,,1.so,counts=/r/a,,b.bin,entry64=ffffffff81800040',
    ]);
    const byHand = qemuArgs({ ...spec, plugin, endpoints: { kind: 'by-hand', portNames: [], portFolder: '/tmp' } });
    expect(byHand).not.to.include('-plugin');
    expect(qemuArgs(spec)).not.to.include('-plugin');
  });

  it('double commas in names and paths', () => {
    const args = qemuArgs(spec);
    expect(valuesOf(args, '-name')).to.deep.equal(['a,,b']);
    expect(valuesOf(args, '-blockdev')[0]).to.include('filename=/r/a,,b.qcow2,');
  });

  it('leave a throwaway disk as it is, and write to any other', () => {
    const disks = [
      { nodeName: 'disk0', path: '/r/root.raw', format: 'raw', isThrowaway: true },
      { nodeName: 'disk1', path: '/r/two.raw', format: 'raw' },
    ] as const;
    const args = qemuArgs({ ...spec, disks });
    expect(valuesOf(args, '-drive')).to.deep.equal(['if=none,id=disk0,file=/r/root.raw,format=raw,snapshot=on']);
    expect(valuesOf(args, '-blockdev').join()).to.include('/r/two.raw').and.not.to.include('/r/root.raw');
  });

  it('name the ports so that the guest finds them', () => {
    const devices = valuesOf(qemuArgs(spec), '-device');
    expect(devices).to.include('virtserialport,bus=ports.0,nr=1,chardev=port0c,id=port0,name=lemona.ctl');
  });

  it("put the user's own arguments last, so that they win", () => {
    expect(qemuArgs(spec).slice(-2)).to.deep.equal(['-m', '1G']);
  });

  it('can be repeated by hand: no socket, the disk untouched, the console on the terminal', () => {
    const args = qemuArgs({ ...spec, endpoints: { kind: 'by-hand', portNames: ['lemona.ctl'], portFolder: '/tmp' } });
    expect(args).to.include('mon:stdio');
    // QEMU ignores -snapshot for a -blockdev.
    expect(args).not.to.include.members(['-blockdev']);
    expect(valuesOf(args, '-drive')).to.deep.equal(['if=none,id=disk0,file=/r/a,,b.qcow2,format=qcow2,snapshot=on']);
    expect(args).not.to.include('-S');
    expect(args.join(' ')).not.to.include('socket,');
  });

  it('tell the kernel its console, its end at a panic, and what the caller wants', () => {
    const [append = ''] = valuesOf(qemuArgs(spec), '-append');
    expect(append.split(' ')).to.include.members(['console=ttyS0', 'panic=-1', 'lemona.start=1']);
  });
});
