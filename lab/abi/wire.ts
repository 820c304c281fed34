// SPDX-License-Identifier: MIT
/**
 * The wire protocol between the driver's socket backend and a logging server: the single source of truth. `generate.ts`
 * turns these tables into `module/lemona_wire.h` and `docs/wire.md`. The rules of `records.ts` hold here too; the
 * protocol has a version of its own, so that the record format and the wire can change apart from each other.
 */
import { layOut } from './layout.js';
import type { IoctlDef, NumberDef, StructDef } from './records.js';

/** First bytes of both openings. */
export const WIRE_MAGIC = 'LMNAWIRE';
export const WIRE_VERSION = 3;
export const WIRE_NOISE_PROTOCOL = 'Noise_NNpsk0_25519_ChaChaPoly_BLAKE2s';
/** Largest transport message of Noise: ciphertext, its tag included. */
export const WIRE_NOISE_MESSAGE_MAX = 65535;
export const WIRE_NOISE_TAG_BYTES = 16;
/** After so many transport messages in one direction, that direction's key is renewed by Noise's REKEY. */
export const WIRE_REKEY_MESSAGES = 16384;
export const WIRE_KEY_BYTES = 32;
/** Either side sends something at least so often... */
export const WIRE_HEARTBEAT_MS = 1000;
/** ...and takes the other for gone after so long a silence. */
export const WIRE_SILENCE_MS = 15000;
/** scrypt: cost (2^15), block size, parallelism; the salt is this prefix and the machine's name. */
export const WIRE_KDF = { cost: 32768, blockSize: 8, parallelism: 1, saltPrefix: 'lemona machine key 1:' } as const;

export const WIRE_STRUCTS = [
  {
    name: 'lemona_wire_hello',
    size: 96,
    doc: 'The first bytes from the driver.',
    fields: [
      { name: 'magic', type: 'char', count: 8, doc: '"LMNAWIRE"' },
      { name: 'version', type: 'u16', doc: 'LEMONA_WIRE_VERSION' },
      { name: 'mode', type: 'u16', doc: 'LEMONA_WIRE_PLAIN or LEMONA_WIRE_NOISE' },
      { name: 'abi_hash', type: 'u32', doc: 'LEMONA_ABI_HASH: of the records' },
      { name: 'boot_id', type: 'u64', doc: 'as in the headers of the sub-buffers' },
      { name: 'cpus', type: 'u32', doc: 'possible CPUs' },
      { name: 'category', type: 'u32', doc: 'LEMONA_CATEGORY_* of the parts that are sent; 0: whole sub-buffers' },
      { name: 'machine', type: 'char', count: 64, doc: 'name of the machine, [a-z0-9._-], padded with zeros' },
    ],
  },
  {
    name: 'lemona_wire_challenge',
    size: 64,
    doc: 'The first bytes from the server.',
    fields: [
      { name: 'magic', type: 'char', count: 8, doc: '"LMNAWIRE"' },
      { name: 'version', type: 'u16', doc: 'LEMONA_WIRE_VERSION' },
      { name: 'status', type: 'u16', doc: 'LEMONA_WIRE_OK, or why the server refuses; then it closes' },
      { name: 'pad', type: 'u32' },
      { name: 'server_id', type: 'u64', doc: 'drawn when the storage point was made' },
      { name: 'zero', type: 'u64' },
      { name: 'nonce', type: 'u8', count: 32, doc: 'random' },
    ],
  },
  {
    name: 'lemona_wire_frame',
    size: 8,
    doc: 'Header of a frame.',
    fields: [
      { name: 'length', type: 'u32', doc: 'bytes that follow this header: a multiple of 8, at most LEMONA_SUBBUF_MAX' },
      { name: 'type', type: 'u16', doc: 'LEMONA_WIRE_*' },
      { name: 'pad', type: 'u16' },
    ],
  },
  {
    name: 'lemona_wire_stream',
    size: 16,
    doc: 'How far a stream is: an element of READY and ACK.',
    fields: [
      { name: 'cpu', type: 'u32', doc: 'the stream' },
      { name: 'pad', type: 'u32' },
      { name: 'next', type: 'u64', doc: 'all sub-buffers with a smaller number are done' },
    ],
  },
  {
    name: 'lemona_wire_end',
    size: 24,
    doc: 'Where a stream ends: an element of END, which has one for each possible CPU.',
    fields: [
      { name: 'cpu', type: 'u32', doc: 'the stream' },
      { name: 'pad', type: 'u32' },
      {
        name: 'next',
        type: 'u64',
        doc: 'all sub-buffers with a smaller number that this server was to have were sent',
      },
      { name: 'all', type: 'u64', doc: 'so many sub-buffers were made, for this server and others' },
    ],
  },
  {
    name: 'lemona_wire_status',
    size: 64,
    doc: 'HEARTBEAT, from either side.',
    fields: [
      { name: 'status', type: 'u32', doc: 'server: LEMONA_WIRE_OK, or why it takes no data now' },
      { name: 'queued', type: 'u32', doc: 'driver: sub-buffers that wait to be sent or acknowledged' },
      { name: 'issued', type: 'u64', doc: 'driver: records issued' },
      { name: 'recorded', type: 'u64', doc: 'driver: of those, recorded' },
      { name: 'dropped', type: 'u64', doc: 'driver: of those, dropped' },
      { name: 'effects', type: 'u64', doc: 'driver: last sequence number drawn' },
      { name: 'connects', type: 'u64', doc: 'driver: connections to this server, this one included' },
      { name: 'refusals', type: 'u64', doc: 'driver: of those, how many ended because a message was not authentic' },
      { name: 'zero', type: 'u64' },
    ],
  },
] as const satisfies readonly StructDef[];

export const WIRE_FRAMES = [
  { name: 'SUBBUF', value: 1, doc: 'driver: one sub-buffer, whole' },
  { name: 'HEARTBEAT', value: 2, doc: 'both: `lemona_wire_status`' },
  { name: 'END', value: 3, doc: 'driver: no more will come of this boot; `lemona_wire_end`s: all that there is' },
  { name: 'READY', value: 16, doc: 'server: first frame; 32 bytes of proof, then `lemona_wire_stream`s: what it has' },
  { name: 'ACK', value: 17, doc: 'server: `lemona_wire_stream`s: what is on its disk, synced' },
  { name: 'REFUSED', value: 18, doc: 'server: u32 LEMONA_WIRE_*, u32 zero; it closes' },
  { name: 'CLOSED', value: 19, doc: 'server: after END: the record of this boot is sealed; it closes' },
] as const satisfies readonly NumberDef[];

export const WIRE_MODES = [
  { name: 'PLAIN', value: 0, doc: 'frames as they are' },
  { name: 'NOISE', value: 1, doc: `frames inside ${WIRE_NOISE_PROTOCOL}` },
] as const satisfies readonly NumberDef[];

export const WIRE_STATUSES = [
  { name: 'OK', value: 0, doc: 'all is well' },
  { name: 'UNKNOWN_MACHINE', value: 1, doc: 'no such machine is enrolled' },
  { name: 'BAD_VERSION', value: 2, doc: 'another version of the protocol or of the records' },
  { name: 'BAD_MODE', value: 3, doc: 'this machine must use the other mode' },
  { name: 'BAD_KEY', value: 4, doc: 'the key is not that of this machine' },
  { name: 'BUSY', value: 5, doc: 'too many connections: come again' },
  { name: 'DISK_FULL', value: 6, doc: 'the disk is full: keep what you have' },
  { name: 'BAD_FRAME', value: 7, doc: 'a frame or a sub-buffer that breaks the format' },
  { name: 'TAMPERED', value: 8, doc: 'a message was not authentic' },
  { name: 'REPLACED', value: 9, doc: 'the same boot has connected anew' },
  { name: 'ENDED', value: 10, doc: 'the record of this boot was closed: nothing more is taken' },
  { name: 'FAILED', value: 11, doc: 'the server can not keep records just now: come again' },
] as const satisfies readonly NumberDef[];

/** Begins each `lemona_relic`. */
export const RELIC_MAGIC = 'LMNAREL2';

/** States of a `lemona_relic`. */
export const RELIC_STATES = [
  { name: 'FREE', value: 0, doc: 'holds nothing' },
  { name: 'OPEN', value: 1, doc: 'is being written: what its header counts, and the checksum, are to be made' },
  { name: 'CLOSED', value: 2, doc: 'waits for a sink; the checksum may be missing' },
] as const satisfies readonly NumberDef[];

/** The structures that are no message: how a key reaches the driver, how a host finds what a dead guest did not send. */
export const WIRE_IOCTL_STRUCTS = [
  {
    name: 'lemona_key',
    size: 32,
    doc: 'Argument of LEMONA_IOC_KEY.',
    fields: [{ name: 'key', type: 'u8', count: WIRE_KEY_BYTES, doc: "the machine's key" }],
  },
  {
    name: 'lemona_relic',
    size: 48,
    doc: 'In the memory of the driver, for each sub-buffer. `pages` u64s follow: the page frames that it lies in, in order.',
    fields: [
      { name: 'magic', type: 'char', count: 8, doc: '"LMNAREL2"' },
      { name: 'self', type: 'u64', doc: 'physical address of this structure: what lies elsewhere is a copy' },
      { name: 'boot_id', type: 'u64', doc: 'as in the header of the sub-buffer' },
      { name: 'state', type: 'u32', doc: 'LEMONA_RELIC_*' },
      { name: 'owed', type: 'u32', doc: 'sinks that are still to have it, a bit for each' },
      { name: 'used', type: 'u32', doc: 'bytes of whole records, header included' },
      { name: 'pages', type: 'u32', doc: 'page frames' },
      { name: 'issued', type: 'u64', doc: 'records issued on its stream, but for those inside' },
    ],
  },
] as const satisfies readonly StructDef[];

export const WIRE_IOCTLS = [
  {
    name: 'KEY',
    nr: 7,
    dir: '_IOW',
    struct: 'lemona_key',
    doc: 'give the driver its key; EBUSY once a server has accepted one',
  },
] as const satisfies readonly IoctlDef[];

export const WIRE_LAYOUTS = layOut([...WIRE_STRUCTS, ...WIRE_IOCTL_STRUCTS]);
