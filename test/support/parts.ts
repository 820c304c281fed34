// SPDX-License-Identifier: MIT
/** Splits sub-buffers as the driver does, by rules that are written down a second time. */
import { AT, FLAG, KIND, SIZE } from '../../lab/abi/layout.js';
import { checkHeader } from '../../lab/trace/subbuf.js';
import { walkRecords } from '../../lab/trace/walk.js';
import { putStruct, record, reseal } from './trace-builder.js';

const DISK_KINDS: ReadonlySet<number> = new Set([KIND.EFFECT, KIND.LOST, KIND.FAULT]);
/** accept, bind, connect, listen, recv, recvmsg, send, sendmsg, sendmsg_zc, send_zc, shutdown, socket. */
const SOCKET_REQUESTS: ReadonlySet<number> = new Set([13, 56, 16, 57, 27, 10, 26, 9, 48, 47, 34, 45]);

/** Which servers are to have a record. */
export function categoriesOf(
  buf: Buffer,
  off: number,
  kind: number,
): { readonly network: boolean; readonly disk: boolean } {
  const both = { network: true, disk: true };
  const network = { network: true, disk: false };
  const disk = { network: false, disk: true };
  if (DISK_KINDS.has(kind)) return disk;
  if (kind === KIND.URING) return SOCKET_REQUESTS.has(buf.readUInt16LE(off + AT.lemona_rec.code)) ? network : disk;
  if (kind !== KIND.ENTRY && kind !== KIND.EXIT) return both;
  return (buf.readUInt16LE(off + AT.lemona_rec.flags) & FLAG.F_SOCKET) === 0 ? disk : network;
}

/** What of a whole sub-buffer is of one category. */
export function partOf(whole: Buffer, category: 'network' | 'disk'): Buffer {
  const check = checkHeader(whole);
  if (!check.ok) throw new Error(check.problem.detail);
  const { header } = check;
  const facts = record(KIND.PART, Buffer.alloc(SIZE.lemona_part - SIZE.lemona_rec), { tid: 0 });
  putStruct(facts, 0, 'lemona_part', {
    ...{ length: header.length, crc32c: header.crc32c, records: header.records, effects: header.effects },
    ...{ seq_first: header.seqFirst, seq_last: header.seqLast },
  });
  const records: Buffer[] = [facts];
  let effects = 0;
  let gap: { readonly dt: number; records: number; bytes: number } | undefined;
  const endGap = () => {
    if (gap === undefined) return;
    const sign = record(KIND.ELSEWHERE, Buffer.alloc(SIZE.lemona_elsewhere - SIZE.lemona_rec), { tid: 0, dt: gap.dt });
    putStruct(sign, 0, 'lemona_elsewhere', { records: gap.records, bytes: gap.bytes });
    records.push(sign);
    gap = undefined;
  };
  walkRecords(whole, header, (buf, off, size, kind) => {
    if (categoriesOf(buf, off, kind)[category]) {
      endGap();
      records.push(buf.subarray(off, off + size));
      if (kind === KIND.EFFECT) effects++;
    } else {
      gap ??= { dt: buf.readUInt32LE(off + AT.lemona_rec.dt), records: 0, bytes: 0 };
      gap.records++;
      gap.bytes += size;
    }
  });
  endGap();
  const part = Buffer.concat([whole.subarray(0, SIZE.lemona_subbuf), ...records]);
  putStruct(part, 0, 'lemona_subbuf', {
    ...{ length: part.length, flags: category === 'network' ? 1 : 2, records: records.length, effects },
    ...{ seq_first: effects > 0 ? header.seqFirst : 0n, seq_last: effects > 0 ? header.seqLast : 0n },
  });
  return reseal(part);
}
