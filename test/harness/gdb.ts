// SPDX-License-Identifier: MIT
/**
 * Just enough of GDB's remote protocol to break a guest's kernel from outside:
 * stop at an address, write to memory, let go.
 */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';

function packet(body: string): string {
  let sum = 0;
  for (const byte of Buffer.from(body, 'latin1')) sum = (sum + byte) & 0xff;
  return `$${body}#${sum.toString(16).padStart(2, '0')}`;
}

export class GdbClient {
  readonly #socket: Socket;
  readonly #bytes: AsyncIterator<Buffer>;
  #rest = '';

  private constructor(socket: Socket) {
    this.#socket = socket;
    this.#bytes = (socket as AsyncIterable<Buffer>)[Symbol.asyncIterator]();
  }

  /** QEMU stops the guest when somebody connects. */
  static async connect(socketPath: string): Promise<GdbClient> {
    const socket = connect(socketPath);
    await once(socket, 'connect');
    return new GdbClient(socket);
  }

  /** Sets a breakpoint at a virtual address and lets the guest run; `stopped` settles when it gets there. */
  async runTo(address: bigint): Promise<{ readonly stopped: Promise<void> }> {
    const at = address.toString(16);
    await this.#demandOk(`Z1,${at},1`);
    await this.#send('c');
    const stopped = (async () => {
      const stop = await this.#answer();
      if (!/^[TS]05/.test(stop)) throw new Error(`gdb: the guest stopped with '${stop}', wanted a breakpoint at ${at}`);
      await this.#demandOk(`z1,${at},1`);
    })();
    stopped.catch(() => {});
    return { stopped };
  }

  /** Writes through the guest's page tables, whatever they permit. */
  async write(address: bigint, bytes: Buffer): Promise<void> {
    await this.#demandOk(`M${address.toString(16)},${bytes.length.toString(16)}:${bytes.toString('hex')}`);
  }

  /** Lets the guest go on alone. */
  async detach(): Promise<void> {
    await this.#demandOk('D');
    this.#socket.destroy();
  }

  async #demandOk(body: string): Promise<void> {
    await this.#send(body);
    const answer = await this.#answer();
    if (answer !== 'OK') throw new Error(`gdb: '${body}' was answered with '${answer}'`);
  }

  /** Returns when QEMU has it: what it gets while the guest runs would only stop that. */
  async #send(body: string): Promise<void> {
    this.#socket.write(packet(body));
    await this.#take(/\+/);
  }

  async #answer(): Promise<string> {
    const [, body = ''] = await this.#take(/\$([^#]*)#[0-9a-f]{2}/);
    this.#socket.write('+');
    return body;
  }

  async #take(wanted: RegExp): Promise<RegExpExecArray> {
    for (;;) {
      const match = wanted.exec(this.#rest);
      if (match !== null) {
        this.#rest = this.#rest.slice(match.index + match[0].length);
        return match;
      }
      const next = await this.#bytes.next();
      if (next.done === true) throw new Error(`gdb: the connection closed while ${wanted} was waited for`);
      this.#rest += next.value.toString('latin1');
    }
  }
}
