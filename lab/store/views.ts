// SPDX-License-Identifier: MIT
/** The views and the named queries as data; `sql.ts` says what stands in braces. */
import { FLAG } from '../abi/layout.js';
import { EVENT_FLAGS, IS_SETUID } from './schema.js';

export interface ViewDef {
  readonly name: string;
  readonly doc: string;
  readonly sql: string;
}

/** A program that the forker executed gave the task its name before it was born. */
const COMM = 'CASE WHEN x.process = p.id THEN x.name ELSE p.name END AS comm';
const ACTOR = `p.id AS process, p.pid, ${COMM}, pe.text AS exe, pa.text AS args`;
/** Whose record it is: MACHINE/BOOT, or a run's name. */
const RECORD = (trace: string): string => `(SELECT name FROM traces WHERE id = ${trace}) AS record`;
/** @param exec which program: a process runs one after the other */
const actorJoins = (exec: string): string =>
  `LEFT JOIN execs x ON x.id = ${exec} LEFT JOIN texts pe ON pe.id = x.exe LEFT JOIN texts pa ON pa.id = x.args`;

/** What an event's record says about itself, in words; NULL: nothing. */
const NOTES = `nullif(trim(${EVENT_FLAGS.map(({ value, name }) => `CASE WHEN e.flags & ${value} <> 0 THEN ' ${name}' ELSE '' END`).join(' || ')}), '') AS notes`;

export const VIEWS: readonly ViewDef[] = [
  {
    name: 'event_list',
    doc: 'Events with their names, times as text, and who.',
    sql: `SELECT e.id, {iso e.time_ns} AS time, e.time_ns, e.duration_ns, k.class, k.name AS what, t.text, e.result, ${NOTES},
 ${ACTOR}, e.euid AS actor_euid, p.trace, ${RECORD('p.trace')}, e.tid, e.cpu, e.flags, e.a0, e.a1, e.a2, e.a3, e.a4, e.a5
 FROM events e JOIN kinds k ON k.id = e.kind JOIN processes p ON p.id = e.process
 LEFT JOIN texts t ON t.id = e.text ${actorJoins('e.exec')}`,
  },
  {
    name: 'effect_list',
    doc: 'Effects with their names, times as text, paths, and who.',
    sql: `SELECT f.id, f.trace, ${RECORD('f.trace')}, f.seq, {iso f.time_ns} AS time, f.time_ns, k.name AS what, t.text AS path, o.text AS other,
 f.pos, f.len, f.valid, f.mode, f.uid, f.gid, f.size, f.nlink, f.file, f.path AS path_id, f.kind,
 ${ACTOR}, f.euid AS actor_euid, f.tid, f.cpu
 FROM effects f JOIN kinds k ON k.id = f.kind JOIN processes p ON p.id = f.process
 LEFT JOIN texts t ON t.id = f.path LEFT JOIN texts o ON o.id = f.other ${actorJoins('f.exec')}`,
  },
  {
    name: 'process_list',
    doc: 'Processes with their programs, owners and parents.',
    sql: `SELECT p.id, p.trace, ${RECORD('p.trace')}, p.pid, q.pid AS parent_pid, p.parent, {iso p.born_ns} AS born, {iso p.ended_ns} AS ended,
 p.status, p.is_kernel, ${COMM}, pe.text AS exe, pa.text AS args, p.uid, u.name AS owner, p.euid
 FROM processes p LEFT JOIN processes q ON q.id = p.parent ${actorJoins('p.exec')}
 LEFT JOIN users u ON u.trace = p.trace AND u.uid = p.uid`,
  },
  {
    name: 'program_list',
    doc: 'Programs in the order in which they were executed, with their users.',
    sql: `SELECT x.id, {iso x.time_ns} AS time, x.time_ns, t.text AS program, a.text AS arguments, x.uid, u.name AS owner,
 x.euid, p.id AS process, p.pid, p.trace, ${RECORD('p.trace')}
 FROM execs x JOIN processes p ON p.id = x.process JOIN texts t ON t.id = x.exe LEFT JOIN texts a ON a.id = x.args
 LEFT JOIN users u ON u.trace = p.trace AND u.uid = x.uid`,
  },
  {
    name: 'identity_list',
    doc: 'Who became whom: logins, su, setuid programs.',
    sql: `SELECT i.id, {iso i.time_ns} AS time, i.time_ns, i.old_uid, i.old_euid, i.uid, i.euid, u.name AS owner,
 ${ACTOR}, p.trace, ${RECORD('p.trace')}
 FROM identities i JOIN events e ON e.id = i.event JOIN processes p ON p.id = i.process ${actorJoins('e.exec')}
 LEFT JOIN users u ON u.trace = p.trace AND u.uid = i.uid`,
  },
  {
    name: 'connection_list',
    doc: 'Addresses of sockets, with the calls that named them.',
    sql: `SELECT s.id, {iso s.time_ns} AS time, s.time_ns, k.name AS what, s.family, t.text AS address, e.result, ${NOTES},
 ${ACTOR}, p.trace, ${RECORD('p.trace')}
 FROM sockets s JOIN events e ON e.id = s.event JOIN kinds k ON k.id = e.kind JOIN processes p ON p.id = s.process
 JOIN texts t ON t.id = s.address ${actorJoins('e.exec')}`,
  },
  {
    name: 'path_list',
    doc: 'Names of files over time.',
    sql: `SELECT n.id, n.file, i.trace, ${RECORD('i.trace')}, i.dev, i.ino, i.gen, t.text AS path, n.from_seq, n.until_seq
 FROM paths n JOIN files i ON i.id = n.file JOIN texts t ON t.id = n.path`,
  },
  {
    name: 'loss_list',
    doc: 'Declared losses, with the paths that lost effects were about.',
    sql: `SELECT l.id, l.trace, ${RECORD('l.trace')}, {iso l.time_ns} AS time, l.class, l.cpu, l.reason, l.records, l.effects, l.seq_first, l.seq_last,
 l.what, l.pos, l.len, (SELECT max(t.text) FROM paths n JOIN texts t ON t.id = n.path WHERE n.file = l.file) AS path
 FROM losses l`,
  },
];

export interface QueryDef {
  readonly name: string;
  readonly doc: string;
  readonly args: readonly { readonly name: string; readonly type: 'text' | 'int' }[];
  /** `{of COLUMN}` where rows of other records than those asked for are left out. */
  readonly sql: string;
}

/** Rows of a named query at most: it is for people; SQL has no such limit. */
export const QUERY_LIMIT = 1000;
/** One more is asked for: whether there are more is to be told. */
const ASKED = QUERY_LIMIT + 1;

const EFFECTS_OF = (which: string): string =>
  `SELECT record, time, seq, what, path, other, pos, len, size, pid, actor_euid AS euid, comm, exe, args FROM effect_list WHERE ${which} {of trace} ORDER BY id LIMIT ${ASKED}`;
const ID_OF_KIND = (name: string): string => `(SELECT id FROM kinds WHERE class = 'EFFECT' AND name = '${name}')`;

export const QUERIES: readonly QueryDef[] = [
  {
    name: 'changed',
    doc: 'who changed a file, under all names that it had',
    args: [{ name: 'PATH', type: 'text' }],
    sql: EFFECTS_OF('file IN (SELECT n.file FROM paths n JOIN texts t ON t.id = n.path WHERE t.text = {text 1})'),
  },
  {
    name: 'did',
    doc: 'what a process did to files',
    args: [{ name: 'PID', type: 'int' }],
    sql: EFFECTS_OF('process IN (SELECT id FROM processes WHERE pid = {int 1})'),
  },
  {
    name: 'calls',
    doc: 'system calls and other events of a process',
    args: [{ name: 'PID', type: 'int' }],
    sql: `SELECT record, time, duration_ns, what, text, result, notes, tid, comm FROM event_list
 WHERE process IN (SELECT id FROM processes WHERE pid = {int 1} {of trace}) ORDER BY id LIMIT ${ASKED}`,
  },
  {
    name: 'tree',
    doc: 'a process and all that grew out of it',
    args: [{ name: 'PID', type: 'int' }],
    sql: `WITH RECURSIVE tree(id, depth, place) AS (
 SELECT id, 0, CAST('' AS text) FROM processes WHERE pid = {int 1} {of trace}
 UNION ALL SELECT p.id, t.depth + 1, t.place || '/' || substr('000000000000' || CAST(p.id AS text), length(CAST(p.id AS text)) + 1)
 FROM tree t JOIN processes p ON p.parent = t.id WHERE t.depth < 100)
 SELECT l.record, l.pid, t.depth, l.born, l.ended, l.owner, l.uid, l.euid, l.comm, l.exe, l.args
 FROM (SELECT * FROM tree ORDER BY place LIMIT ${ASKED}) t JOIN process_list l ON l.id = t.id ORDER BY t.place`,
  },
  {
    name: 'deleted',
    doc: 'files and directories whose last name was taken away, or given to another one',
    args: [],
    // Each part comes by the index in the order that is wanted, and ends with the limit.
    sql: `SELECT record, time, seq, what, path, CASE WHEN what = 'RENAME' THEN other END AS replaced_by,
 CASE WHEN what = 'RENAME' THEN len ELSE size END AS size, pid, comm, exe, args FROM effect_list WHERE id IN (SELECT id FROM (
 SELECT id FROM effects WHERE kind = ${ID_OF_KIND('UNLINK')} AND nlink = 0 {of trace}
 UNION ALL SELECT id FROM effects WHERE kind = ${ID_OF_KIND('RENAME')} AND nlink = 0 {of trace}
 UNION ALL SELECT id FROM effects WHERE kind = ${ID_OF_KIND('RMDIR')} {of trace} ORDER BY id DESC LIMIT ${ASKED}) newest) ORDER BY id DESC`,
  },
  {
    name: 'connections',
    doc: 'addresses that sockets were bound to, connected to, or heard from',
    args: [],
    sql: `SELECT record, time, what, address, result, notes, pid, comm, exe, args FROM connection_list WHERE TRUE {of trace} ORDER BY id LIMIT ${ASKED}`,
  },
  {
    name: 'setuid',
    doc: 'programs that were given the setuid or setgid bit',
    args: [],
    sql: `SELECT record, time, seq, what, path, mode, uid, gid, pid, comm, exe, args FROM effect_list WHERE id IN (
 SELECT id FROM effects WHERE +kind IN (${['SETATTR', 'CREATE', 'LINK', 'RENAME'].map(ID_OF_KIND).join(', ')})
 AND (valid IS NULL OR valid & ${FLAG.VALID_MODE} <> 0) AND ${IS_SETUID} {of trace}) ORDER BY id LIMIT ${ASKED}`,
  },
  {
    name: 'logins',
    doc: 'who became whom',
    args: [],
    sql: `SELECT record, time, old_uid, uid, old_euid, euid, owner, pid, comm, exe, args FROM identity_list WHERE TRUE {of trace} ORDER BY id LIMIT ${ASKED}`,
  },
  {
    name: 'programs',
    doc: 'programs in the order in which they were executed',
    args: [],
    sql: `SELECT record, time, owner, uid, euid, pid, program, arguments FROM program_list WHERE TRUE {of trace} ORDER BY id LIMIT ${ASKED}`,
  },
  {
    name: 'search',
    doc: 'events that mention words in a path or an argument',
    args: [{ name: 'WORDS', type: 'text' }],
    sql: `SELECT record, time, what, text, result, notes, pid, comm FROM event_list
 WHERE id IN (SELECT id FROM events WHERE text IN ({matching 1}) {of process} ORDER BY id LIMIT ${ASKED}) ORDER BY id`,
  },
  {
    name: 'losses',
    doc: 'what was lost',
    args: [],
    sql: `SELECT record, time, class, cpu, records, effects, seq_first, seq_last, path, what, pos, len FROM loss_list WHERE TRUE {of trace} ORDER BY id LIMIT ${ASKED}`,
  },
];
