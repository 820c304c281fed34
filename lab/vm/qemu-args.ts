// SPDX-License-Identifier: MIT
/** QEMU's command line as one list, with the reason beside each odd flag. Pure. */

export type Accelerator = 'kvm' | 'tcg';

export interface DiskSpec {
  /** Names the block node for QMP; the guest sees disks in order, /dev/vda first. */
  readonly nodeName: string;
  readonly path: string;
  readonly format: 'qcow2' | 'raw';
  readonly readOnly?: boolean;
  /** What the guest writes goes to a temporary file of QEMU's and is lost; the disk's own file is only read. */
  readonly isThrowaway?: boolean;
}

export interface PortSpec {
  /** The name the guest finds it by, under /sys/class/virtio-ports. */
  readonly name: string;
  readonly socketPath: string;
}

/**
 * Where QEMU's channels lead: to our sockets, or, for a person who repeats a
 * failed boot by hand, to the terminal and to files.
 */
export type Endpoints =
  | {
      readonly kind: 'sockets';
      readonly ports: readonly PortSpec[];
      readonly qmpSocketPath: string;
      readonly consoleSocketPath: string;
      readonly consoleLogPath: string;
    }
  | { readonly kind: 'by-hand'; readonly portNames: readonly string[]; readonly portFolder: string };

/** A TCP port of the host's loopback that leads to one of the guest. */
export interface Forward {
  readonly hostPort: number;
  readonly guestPort: number;
}

/** The guest's network: it reaches some TCP ports of the host's loopback, each at its serverAddress, and nothing else. */
export interface NetworkSpec {
  readonly hostPorts: readonly number[];
  readonly forwards: readonly Forward[];
}

export interface PluginSpec {
  /** The shared object. */
  readonly file: string;
  readonly args: Readonly<Record<string, string>>;
}

export interface QemuArgsSpec {
  readonly name: string;
  readonly accelerator: Accelerator;
  readonly smp: number;
  /** The guest switches static branches and calls while several CPUs run: see `acceleratorArg`. */
  readonly patchesRunningCode?: boolean;
  /** Emulated CPUs take turns in one thread of the host, so that guests that are compared have the same emulator. */
  readonly hasOneThread?: boolean;
  readonly memoryMiB: number;
  readonly kernel: string;
  readonly initrd: string;
  /** Kernel parameters after the ones every guest gets. */
  readonly append: readonly string[];
  readonly disks: readonly DiskSpec[];
  readonly endpoints: Endpoints;
  readonly network?: NetworkSpec;
  /** When the guest is off, QEMU holds still instead of ending, so that the guest's memory can be read. */
  readonly keepsMemory?: boolean;
  /** A plugin of the emulator; not loaded by hand, where its files are not to be overwritten. */
  readonly plugin?: PluginSpec;
  /** Passed through as they are, last: the user's word wins. */
  readonly extraArgs: readonly string[];
}

/**
 * What emulation does badly, the guest is not offered. Five-level page tables make every TLB miss a level longer. The
 * crc32 instruction is a loop over bits in QEMU (ext4 sums every inode, bitmap and directory block, the driver every
 * sub-buffer), `rep movsb` moves one byte at a time, and each change of SMAP's flag ends a translated block. Without
 * them the same replay took two thirds of the time.
 */
export const TCG_CPU = 'max,la57=off,sse4.2=off,erms=off,fsrm=off,smap=off,smep=off';

/**
 * QEMU's clock is the same on all its vCPUs. Linux, which measures it across emulated CPUs, may find that it is not, and
 * then uses slower clocks; it also patches running code to do so (see `acceleratorArg`).
 */
export const TCG_KERNEL_ARGS = ['tsc=reliable'] as const;

/** Where a guest with a network finds each of the host's ports. */
export function serverAddress(index: number): string {
  return `10.0.2.${100 + index}:7021`;
}

const GUEST_ADDRESS = '10.0.2.15';
/** What such a guest's kernel is told: its own address, and no way out of that network. */
export const NETWORK_KERNEL_ARGS = [`ip=${GUEST_ADDRESS}:::255.255.255.0:::off`] as const;

export const QEMU_PROGRAM = 'qemu-system-x86_64';

/** QEMU separates options with commas; one inside a value is doubled. */
function value(text: string): string {
  return text.replaceAll(',', ',,');
}

/** What every guest's kernel is told; then the caller's own. */
export function kernelCommandLine(append: readonly string[]): string {
  return [
    'console=ttyS0',
    // Warnings and worse reach the console. Each character costs an exit to QEMU.
    'loglevel=4',
    // A panic reboots at once, and -no-reboot turns that into QEMU's exit: nothing waits for a dead guest.
    'panic=-1',
    // An oops leaves a kernel that can't be trusted to record.
    'oops=panic',
    // Interrupts of the emulated timer may come too late for the check on a busy host: the guest panicked.
    'no_timer_check',
    ...append,
  ].join(' ');
}

function consoleArgs(endpoints: Endpoints): string[] {
  // Ctrl-A X ends a QEMU that has its console on the terminal.
  if (endpoints.kind === 'by-hand') return ['-serial', 'mon:stdio'];
  return [
    // Started paused: the guest first runs when every socket is connected, so no early byte is lost.
    '-S',
    // QEMU connects to sockets we already listen on: if it can't, it fails at once instead of us polling for a file.
    ...['-chardev', `socket,id=qmp,path=${value(endpoints.qmpSocketPath)}`],
    ...['-mon', 'chardev=qmp,mode=control'],
    // QEMU keeps the log itself, so it is whole even if we die.
    ...[
      '-chardev',
      `socket,id=console,path=${value(endpoints.consoleSocketPath)},logfile=${value(endpoints.consoleLogPath)},logappend=off`,
    ],
    ...['-serial', 'chardev:console'],
  ];
}

function pluginArgs({ plugin, endpoints }: QemuArgsSpec): string[] {
  if (plugin === undefined || endpoints.kind === 'by-hand') return [];
  const args = Object.entries(plugin.args).map(([name, text]) => `,${name}=${value(text)}`);
  return ['-plugin', `file=${value(plugin.file)}${args.join('')}`];
}

function portArgs(endpoints: Endpoints): string[] {
  const backends =
    endpoints.kind === 'sockets'
      ? endpoints.ports.map((port) => ({ name: port.name, backend: 'socket', path: port.socketPath }))
      : endpoints.portNames.map((name) => ({ name, backend: 'file', path: `${endpoints.portFolder}/${name}.out` }));
  if (backends.length === 0) return [];
  return [
    ...['-device', 'virtio-serial-pci,id=ports,max_ports=16'],
    ...backends.flatMap((port, index) => [
      ...['-chardev', `${port.backend},id=port${index}c,path=${value(port.path)}`],
      // Port 0 is reserved for consoles.
      ...[
        '-device',
        `virtserialport,bus=ports.0,nr=${index + 1},chardev=port${index}c,id=port${index},name=${port.name}`,
      ],
    ]),
  ];
}

function networkArgs({ network }: QemuArgsSpec): string[] {
  if (network === undefined) return [];
  // A program for each connection: QEMU's own forwarding to a socket knows one connection, and not where it ends.
  const out = network.hostPorts.map(
    (port, index) => `,guestfwd=${value(`tcp:${serverAddress(index)}-cmd:busybox nc 127.0.0.1 ${port}`)}`,
  );
  const into = network.forwards.map(
    ({ hostPort, guestPort }) => `,hostfwd=tcp:127.0.0.1:${hostPort}-${GUEST_ADDRESS}:${guestPort}`,
  );
  return [
    ...['-netdev', `user,id=net0,restrict=on,ipv6=off${[...out, ...into].join('')}`],
    // No option ROM: nothing boots from it, and its file is in a package of its own.
    ...['-device', 'virtio-net-pci,netdev=net0,romfile='],
  ];
}

function diskArgs(disk: DiskSpec, isByHand: boolean): string[] {
  const device = ['-device', `virtio-blk-pci,drive=${disk.nodeName},serial=${disk.nodeName}`];
  if (isByHand || disk.isThrowaway === true) {
    // Not -blockdev: for that QEMU (7.2) takes no heed of `snapshot`, neither as an option of its own nor as -snapshot.
    const drive = `if=none,id=${disk.nodeName},file=${value(disk.path)},format=${disk.format},snapshot=on`;
    return ['-drive', drive, ...device];
  }
  // Host page cache, and a guest's flush does not wait for the host's disk: what must survive is the trace, not
  // this disk, and QEMU's death alone loses nothing (a flush still writes qcow2's tables to the host's cache).
  const options = `cache.direct=off,cache.no-flush=on${disk.readOnly === true ? ',read-only=on' : ''}`;
  return [
    ...['-blockdev', `driver=file,node-name=${disk.nodeName}-file,filename=${value(disk.path)},${options}`],
    ...['-blockdev', `driver=${disk.format},node-name=${disk.nodeName},file=${disk.nodeName}-file,${options}`],
    ...device,
  ];
}

/**
 * With MTTCG each vCPU has a host thread. But QEMU 7.2 may then keep a translation of the breakpoint that Linux puts
 * where it patches code ("Oops: int3" in a guest that loaded the driver), so a guest that loads it gets one thread.
 */
export function acceleratorArg(
  spec: Pick<QemuArgsSpec, 'accelerator' | 'smp' | 'patchesRunningCode' | 'hasOneThread'>,
): string {
  if (spec.accelerator !== 'tcg') return 'kvm';
  const hasOneThread = spec.smp === 1 || spec.patchesRunningCode === true || spec.hasOneThread === true;
  return hasOneThread ? 'tcg,thread=single' : 'tcg,thread=multi';
}

/** The full command line, program first. */
export function qemuArgs(spec: QemuArgsSpec): [string, ...string[]] {
  const tcg = spec.accelerator === 'tcg';
  return [
    QEMU_PROGRAM,
    ...['-name', value(spec.name)],
    // Nothing we did not ask for: no floppy, no VGA, no network, no file in /etc/qemu.
    '-nodefaults',
    '-no-user-config',
    ...['-display', 'none'],
    // i440fx has fewer devices to probe than q35. No HPET: reading it exits to QEMU.
    ...['-machine', 'pc,hpet=off,vmport=off,usb=off'],
    ...['-accel', acceleratorArg(spec)],
    ...['-cpu', tcg ? TCG_CPU : 'host'],
    ...['-smp', String(spec.smp)],
    ...['-m', `${spec.memoryMiB}M`],
    ...['-kernel', spec.kernel],
    ...['-initrd', spec.initrd],
    ...['-append', kernelCommandLine([...(tcg ? TCG_KERNEL_ARGS : []), ...spec.append])],
    // A panicking or rebooting guest ends QEMU, so its end can be waited for.
    '-no-reboot',
    ...(spec.keepsMemory === true && spec.endpoints.kind === 'sockets' ? ['-action', 'shutdown=pause'] : []),
    ...consoleArgs(spec.endpoints),
    // Guests without entropy wait for it at boot.
    ...['-object', 'rng-random,id=rng,filename=/dev/urandom', '-device', 'virtio-rng-pci,rng=rng'],
    // A boot by hand leaves the run's disk as it is.
    ...spec.disks.flatMap((disk) => diskArgs(disk, spec.endpoints.kind === 'by-hand')),
    ...portArgs(spec.endpoints),
    ...networkArgs(spec),
    ...pluginArgs(spec),
    ...spec.extraArgs,
  ];
}
