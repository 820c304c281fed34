// SPDX-License-Identifier: MIT
/**
 * A long record of a made-up machine that works like the real ones we recorded: of 100 records about 40 are entries and
 * 40 exits, 12 switches, 6 effects, and the rest births, programs and ends. Made from templates that are patched, so
 * that millions take seconds. The same seed gives the same bytes.
 */
import { AT } from '../../lab/abi/layout.js';
import * as b from './trace-builder.js';

const R = AT.lemona_rec;
const BOOT = 0x5eed_5eed_5eed_5eedn;
const BASE_MONO = 1_000_000_000n;
export const SYNTH_START_NS = 1_700_000_000_000_000_000n;
/** Bytes of a sub-buffer, about: the driver's default. */
const SUBBUF_BYTES = 64 * 1024;
const ROOT_DEV = 0xfe00;
const DIRECTORIES = 200;
const PROGRAMS = ['/usr/bin/gcc', '/bin/sh', '/usr/bin/git', '/usr/bin/sqlite3', '/usr/bin/tar', '/usr/bin/make'];
const READ = 0;
const WRITE = 1;
const CLOSE = 3;
const CONNECT = 42;
const EXECVE = 59;
const OPENAT = 257;

function xorshift(seed: number): () => number {
  let x = seed | 0 || 1;
  return () => {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    return x >>> 0;
  };
}

/** A record of which only some fields change. */
class Template {
  readonly buf: Buffer;
  constructor(buf: Buffer) {
    this.buf = buf;
  }
  /** A copy for this thread at that time. */
  at(tid: number, dt: number): Buffer {
    const copy = Buffer.from(this.buf);
    copy.writeUInt32LE(tid, R.tid);
    copy.writeUInt32LE(dt, R.dt);
    return copy;
  }
}

export interface SynthOptions {
  readonly records: number;
  readonly cpus?: number;
  readonly seed?: number;
}

interface Stream {
  records: Buffer[];
  bytes: number;
  baseNs: number;
  number: bigint;
  issued: bigint;
}

/** Sub-buffers in the order in which a receiver would store them. */
export function* synthesize({ records, cpus = 2, seed = 1 }: SynthOptions): Generator<Buffer, void, void> {
  const random = xorshift(seed);
  const streams: Stream[] = Array.from({ length: cpus }, () => ({
    ...{ records: [], bytes: 0, baseNs: 0, number: 0n, issued: 0n },
  }));
  let nowNs = 0;
  let seq = 0n;
  let made = 0;
  let nextPid = 1000;
  let nextIno = 100_000;
  const read = [new Template(b.entry(READ, [3, 0x7ffd_1234_5678n, 4096])), new Template(b.exit(READ, 4096))] as const;
  const writeCall = [
    new Template(
      b.entry(WRITE, [4, 0x5555_1234_5678n, 512], [b.tlv('BUF_IN', 'x'.repeat(64), { arg: 1, trueLen: 512 })]),
    ),
    new Template(b.exit(WRITE, 512)),
  ] as const;
  const close = [new Template(b.entry(CLOSE, [3])), new Template(b.exit(CLOSE, 0))] as const;
  const switched = new Template(b.switchTo(0));
  const content = new Template(b.write({ seq: 0n, ino: 0n, gen: 1, dev: ROOT_DEV }, 0n, 'y'.repeat(120)));
  const times = new Template(b.setattr({ seq: 0n, ino: 0n, gen: 1, dev: ROOT_DEV }, 0));

  function* emit(cpu: number, record: Buffer): Generator<Buffer, void, void> {
    const stream = streams[cpu] as Stream;
    if (stream.records.length === 0) stream.baseNs = nowNs;
    record.writeUInt32LE(nowNs - stream.baseNs, R.dt);
    stream.records.push(record);
    stream.bytes += record.length;
    made++;
    nowNs += 200 + (random() % 600);
    if (stream.bytes >= SUBBUF_BYTES) yield close_(cpu);
  }
  function close_(cpu: number): Buffer {
    const stream = streams[cpu] as Stream;
    stream.issued += BigInt(stream.records.length);
    const buf = b.subbuf(stream.records, {
      cpu,
      number: stream.number++,
      bootId: BOOT,
      monoNs: BASE_MONO + BigInt(stream.baseNs),
      realNs: SYNTH_START_NS + BigInt(stream.baseNs),
      issued: stream.issued,
    });
    stream.records = [];
    stream.bytes = 0;
    return buf;
  }
  const effectAt = (template: Template, ino: number): Buffer => {
    const copy = Buffer.from(template.buf);
    copy.writeBigUInt64LE(++seq, AT.lemona_effect.seq);
    copy.writeBigUInt64LE(BigInt(ino), AT.lemona_effect.ino);
    return copy;
  };
  const dirIno = (n: number): bigint => BigInt(1000 + n);

  yield* emit(0, b.start(++seq, '6.12.0-synth'));
  yield* emit(0, b.mount('MOUNT', { seq: ++seq, ino: 2n, gen: 0, dev: ROOT_DEV }, 'ext4', '/dev/vda'));
  yield* emit(0, b.task({ tid: 1, tgid: 1, parent_tgid: 0, comm: 'init' }, { code: 1, tid: 1 }));
  for (let n = 0; n < DIRECTORIES; n++) {
    const ino = dirIno(n);
    yield* emit(
      0,
      b.dentry('MKDIR', {
        seq: ++seq,
        ino,
        dev: ROOT_DEV,
        name: `dir${n}`,
        tid: 1,
        child: b.attr({ ino, mode: 0o40755 }),
      }),
    );
  }
  while (made < records) {
    // A process is born, runs a program, works on some files, and ends.
    const pid = nextPid++;
    const uid = pid % 7 === 0 ? 0 : 1000 + (pid % 5);
    let cpu = random() % cpus;
    const program = PROGRAMS[random() % PROGRAMS.length] as string;
    const comm = program.slice(program.lastIndexOf('/') + 1);
    yield* emit(
      cpu,
      b.task({ tid: pid, tgid: pid, parent_tgid: 1, uid, gid: uid, euid: uid, egid: uid, comm: 'sh' }, { tid: 1 }),
    );
    yield* emit(
      cpu,
      b.entry(
        EXECVE,
        [1, 2, 3],
        [b.tlv('PATH', program, { arg: 0 }), b.tlv('STRV', `${comm}\0-o\0job${pid % 5000}\0`, { arg: 1 })],
        { tid: pid },
      ),
    );
    yield* emit(
      cpu,
      b.exec(
        program,
        { tgid: pid, uid, gid: uid, euid: uid, egid: uid, comm, ino: 50n + BigInt(comm.length), dev: ROOT_DEV },
        { tid: pid },
      ),
    );
    yield* emit(cpu, b.exit(0xffff, 0, [], { tid: pid }));
    const files = 4 + (random() % 8);
    for (let f = 0; f < files && made < records; f++) {
      const dir = random() % DIRECTORIES;
      const ino = nextIno++;
      const name = `f${ino % 20_000}`;
      const open = b.entry(
        OPENAT,
        [-100, 0x7fff_0000_1000n, 0x241, 0o644],
        [b.tlv('PATH', `/dir${dir}/${name}`, { arg: 1 })],
        { tid: pid },
      );
      yield* emit(cpu, open);
      const child = b.attr({ ino: BigInt(ino), uid, gid: uid, mode: f === 0 && pid % 400 === 0 ? 0o104755 : 0o100644 });
      const dirAttr = b.attr({ ino: dirIno(dir), mode: 0o40755 });
      yield* emit(
        cpu,
        b.dentry('CREATE', { seq: ++seq, ino: BigInt(ino), dev: ROOT_DEV, name, child, dir: dirAttr, tid: pid }),
      );
      yield* emit(cpu, b.exit(OPENAT, 3, [], { tid: pid }));
      const calls = 15 + (random() % 20);
      for (let c = 0; c < calls; c++) {
        const which = random() % 8;
        const [entry, exit] = which === 0 ? writeCall : which === 1 ? close : read;
        yield* emit(cpu, entry.at(pid, 0));
        if (which === 0) {
          const effect = effectAt(content, ino);
          effect.writeUInt32LE(pid, R.tid);
          yield* emit(cpu, effect);
          if (random() % 2 === 0) {
            const sample = effectAt(times, ino);
            sample.writeUInt32LE(pid, R.tid);
            yield* emit(cpu, sample);
          }
        }
        if (random() % 6 === 0) {
          const change = switched.at(pid, 0);
          change.writeUInt32LE(1 + (random() % 50), AT.lemona_switch.next_tid);
          yield* emit(cpu, change);
          cpu = random() % cpus;
        }
        yield* emit(cpu, exit.at(pid, 0));
      }
      if (random() % 4 === 0) {
        yield* emit(
          cpu,
          b.dentry('UNLINK', {
            seq: ++seq,
            ino: BigInt(ino),
            dev: ROOT_DEV,
            name,
            child: b.attr({ ino: BigInt(ino), nlink: 0 }),
            dir: dirAttr,
            tid: pid,
          }),
        );
      }
    }
    if (pid % 20 === 0) {
      const address = Buffer.from([2, 0, 0, 80, 10, 0, pid & 255, (pid >> 8) & 255, 0, 0, 0, 0, 0, 0, 0, 0]);
      yield* emit(
        cpu,
        b.entry(CONNECT, [5, 0x7fff_0000_2000n, 16], [b.tlv('SOCKADDR', address, { arg: 1 })], { tid: pid }),
      );
      yield* emit(cpu, b.exit(CONNECT, 0, [], { tid: pid }));
    }
    yield* emit(cpu, b.taskExit(0, { tid: pid }));
  }
  for (let cpu = 0; cpu < cpus; cpu++) if ((streams[cpu] as Stream).records.length > 0) yield close_(cpu);
}
