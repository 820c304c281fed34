// SPDX-License-Identifier: MIT
/**
 * The decoder meets a hostile guest: streams of a few small frames, mutated, through reassembly, survey, decoding,
 * rendering and the demo's analysis, all in this process.
 *
 * The oracle. Frames that the reader gives must be, in order and from the first on, byte for byte the frames that went
 * in: originals, or ones whose checksum the mutator made right. After raw damage it must stop there. Nothing is
 * resynchronized, so nothing may follow. Every decoded record lies where its header says, records tile the frame, and
 * every view (a name, a path, content) lies inside its record. A line that is printed holds nothing a terminal obeys.
 * So no record is invented: each one's bytes were sent by somebody who had the checksum.
 */
import { SIZE } from '../../lab/abi/layout.js';
import { Analysis } from '../../lab/demo/analyse.js';
import { eventToJson } from '../../lab/trace/events.js';
import { FrameAssembler, type FrameEvent } from '../../lab/trace/frames.js';
import { InodeNames } from '../../lab/trace/names.js';
import { decodeRecord, recordOffsets, type TraceRecord } from '../../lab/trace/record.js';
import { renderRecord } from '../../lab/trace/render.js';
import { TaskTracker } from '../../lab/trace/tasks.js';
import { surveySubbuf } from '../../lab/trace/walk.js';
import { type Draft, FRAME_MAX, mutateRaw, mutateStructure } from './mutate.js';
import { Random } from './random.js';

/** What a terminal obeys or does not show. */
const UNSHOWN = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u;
/** Frames of one make-believe run: then everybody forgets. */
const RUN_FRAMES = 50_000;
const STREAM_FRAMES = 4;

export interface FrameCounts {
  /** Frames that went in. */
  frames: number;
  /** Of those, changed with a right checksum, and streams that were damaged. */
  resealed: number;
  damaged: number;
  /** Frames and records that came out, and what became of the records. */
  accepted: number;
  records: number;
  malformed: number;
  unknown: number;
  rendered: number;
  slowestMs: number;
}

/** An oracle's complaint names the seed and the stream that shows it. */
export class Complaint extends Error {}

function demand(condition: boolean, message: () => string): void {
  if (!condition) throw new Complaint(message());
}

/** Every Buffer in a decoded record must be a view of [from, to) of `frame`. */
function checkViews(value: unknown, frame: Buffer, from: number, to: number): void {
  if (typeof value !== 'object' || value === null) return;
  if (Buffer.isBuffer(value)) {
    const at = value.byteOffset - frame.byteOffset;
    demand(
      value.length === 0 || (value.buffer === frame.buffer && at >= from && at + value.length <= to),
      () => `a view of ${at} to ${at + value.length} in a record from ${from} to ${to}`,
    );
    return;
  }
  for (const key in value) checkViews((value as Record<string, unknown>)[key], frame, from, to);
}

/** Who follows a run: rendered lines, the demo's story. */
class Followers {
  readonly tasks = new TaskTracker();
  readonly names = new InodeNames();
  readonly analysis = new Analysis();

  /** @returns whether it was rendered */
  follow(record: TraceRecord, random: Random): boolean {
    this.tasks.observe(record);
    if (record.kind === 'effect' && record.effect.op !== 'MALFORMED') this.names.observe(record.effect);
    this.analysis.observe(record);
    if (!random.oneIn(4)) return false;
    const line = renderRecord(record, this.tasks, this.names);
    demand(!UNSHOWN.test(line), () => `a line holds what a terminal obeys: ${JSON.stringify(line)}`);
    if (random.oneIn(4)) {
      const task = this.tasks.get(record.tid);
      const path = record.kind === 'effect' ? this.names.paths(record.effect)[0] : undefined;
      const ancestors = () => (task === undefined ? [] : this.tasks.ancestors(task.tgid));
      ancestors();
      const json = JSON.stringify(eventToJson({ record, task, ancestors, path, line }));
      demand(!UNSHOWN.test(json), () => `JSON holds what a terminal obeys: ${json}`);
    }
    return true;
  }
}

/**
 * Mutates and reads until `frames` frames with changed structure went in; originals between them, and streams that are
 * damaged after that, come on top. Throws a Complaint at the first broken rule.
 */
export function fuzzFrames(
  seeds: readonly Buffer[],
  seed: number,
  frames: number,
  onFrames?: (counts: FrameCounts) => void,
): FrameCounts {
  const random = new Random(seed);
  const counts: FrameCounts = {
    frames: 0,
    resealed: 0,
    damaged: 0,
    accepted: 0,
    records: 0,
    malformed: 0,
    unknown: 0,
    rendered: 0,
    slowestMs: 0,
  };
  const stream = Buffer.alloc(STREAM_FRAMES * FRAME_MAX + 1024);
  const sent = Buffer.alloc(stream.length);
  const draft: Draft = { buf: Buffer.alloc(FRAME_MAX), length: 0 };
  let followers = new Followers();
  let untilFresh = RUN_FRAMES;
  let reportAt = 0;
  for (let streams = 0; counts.resealed < frames; streams++) {
    const startedMs = performance.now();
    let length = 0;
    const ends: number[] = [];
    for (let i = 1 + random.below(STREAM_FRAMES); i > 0; i--) {
      const original = random.pick(seeds);
      if (random.oneIn(4)) {
        original.copy(stream, length);
        length += original.length;
      } else {
        original.copy(draft.buf);
        draft.length = original.length;
        mutateStructure(random, draft, seeds);
        draft.buf.copy(stream, length, 0, draft.length);
        length += draft.length;
        counts.resealed++;
      }
      ends.push(length);
    }
    counts.frames += ends.length;
    untilFresh -= ends.length;
    stream.copy(sent, 0, 0, length);
    const isRaw = random.oneIn(3);
    if (isRaw) {
      length = mutateRaw(random, stream, length);
      counts.damaged++;
    }
    try {
      readStream(random, stream.subarray(0, length), sent, ends, followers, counts);
      if (untilFresh <= 0) {
        followers.analysis.story();
        followers = new Followers();
        untilFresh = RUN_FRAMES;
      }
    } catch (error) {
      const bytes = stream.subarray(0, length).toString('hex');
      throw new Error(`seed ${seed}, stream ${streams}: ${bytes}`, { cause: error });
    }
    counts.slowestMs = Math.max(counts.slowestMs, performance.now() - startedMs);
    if (onFrames !== undefined && counts.frames >= reportAt) {
      reportAt += 100_000;
      onFrames(counts);
    }
  }
  return counts;
}

function readStream(
  random: Random,
  stream: Buffer,
  sent: Buffer,
  ends: readonly number[],
  followers: Followers,
  counts: FrameCounts,
): void {
  const assembler = new FrameAssembler();
  const starts = [0, ...ends];
  let given = 0;
  let last = 0;
  let isOver = false;
  const take = (event: FrameEvent): void => {
    demand(!isOver, () => 'an event after a bad frame');
    if (event.type === 'bad') {
      isOver = true;
      return;
    }
    demand(event.position === given, () => `a frame at ${event.position}, wanted at ${given}`);
    const { bytes } = event;
    // One that was cut out whole leaves the others good: in order, not in place.
    const start = starts.find((from) => from >= last && bytes.compare(sent, from, from + bytes.length) === 0);
    demand(start !== undefined, () => `an invented frame of ${bytes.length} bytes at ${given}`);
    last = start ?? last;
    given += bytes.length;
    counts.accepted++;
    readFrame(random, event, followers, counts);
  };
  const cut = random.oneIn(2) ? stream.length : random.below(stream.length + 1);
  for (const event of assembler.push(stream.subarray(0, cut))) take(event);
  if (cut < stream.length) for (const event of assembler.push(stream.subarray(cut))) take(event);
  const end = assembler.end();
  demand(isOver === (assembler.bad !== undefined), () => 'a bad frame was not handed out');
  if (end.type === 'clean') demand(given === stream.length, () => `clean at ${end.position} of ${stream.length} bytes`);
  if (end.type === 'torn')
    demand(
      given + end.bytes === stream.length,
      () => `torn after ${end.bytes} bytes, ${stream.length - given} had come`,
    );
}

function readFrame(
  random: Random,
  event: Extract<FrameEvent, { type: 'subbuf' }>,
  followers: Followers,
  counts: FrameCounts,
): void {
  const { bytes, header } = event;
  const survey = surveySubbuf(bytes, header);
  const offsets = recordOffsets(bytes, header);
  let at: number = SIZE.lemona_subbuf;
  for (const off of offsets) {
    demand(off === at, () => `a record at ${off}, the one before it ended at ${at}`);
    const record = decodeRecord(bytes, off, header);
    at = off + record.size;
    demand(record.size >= SIZE.lemona_rec && at <= header.length, () => `a record of ${record.size} bytes at ${off}`);
    checkViews(record, bytes, off, at);
    counts.records++;
    if (record.kind === 'unknown') counts.unknown++;
    if (record.kind === 'malformed' || (record.kind === 'effect' && record.effect.op === 'MALFORMED'))
      counts.malformed++;
    // The index leaves out a frame with a problem; what is shown comes from the others.
    if (survey.problem === undefined && followers.follow(record, random)) counts.rendered++;
  }
  if (survey.problem === undefined) {
    demand(
      at === header.length && offsets.length === header.records,
      () => `${offsets.length} records end at ${at} of ${header.length}`,
    );
  }
}
