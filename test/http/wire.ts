// HTTP as bytes on a socket: what no well-behaved client would send. Every read has a deadline, so
// that a server which never answers fails a test rather than holding it.

import { once } from 'node:events';
import { connect, type Socket } from 'node:net';

const DEADLINE_MS = 8_000;

export interface WireResponse {
  readonly status: number;
  /** Values by lower-case name; several are joined by a line's end. */
  readonly headers: ReadonlyMap<string, string>;
  readonly body: string;
}

export class Wire {
  readonly #socket: Socket;
  #received: Buffer = Buffer.alloc(0);
  #isClosed = false;
  #wake: () => void = () => undefined;

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.on('data', (chunk: Buffer) => {
      this.#received = Buffer.concat([this.#received, chunk]);
      this.#wake();
    });
    socket.on('error', () => undefined); // a reset is a way of closing
    for (const event of ['end', 'close']) {
      socket.on(event, () => {
        this.#isClosed = true;
        this.#wake();
      });
    }
  }

  /** `from`: the address that the server sees. */
  static async connect(port: number, from = '127.0.0.1'): Promise<Wire> {
    const socket = connect({ port, host: '127.0.0.1', localAddress: from, noDelay: true });
    await once(socket, 'connect');
    return new Wire(socket);
  }

  /** Sends bytes; of a string, a byte for each character. */
  send(data: string | Uint8Array): void {
    this.#socket.write(typeof data === 'string' ? Buffer.from(data, 'latin1') : data);
  }

  /** Says that nothing more will be sent. */
  end(): void {
    this.#socket.end();
  }

  /** The next answer, or undefined when the server closes the connection instead of giving one. */
  async next({ isHead = false } = {}): Promise<WireResponse | undefined> {
    for (;;) {
      const response = this.#parse(isHead);
      if (response) return response;
      if (this.#isClosed) {
        if (this.#received.length === 0) return undefined;
        throw new Error(`closed in the middle of an answer: ${this.#received.toString('latin1')}`);
      }
      await this.#more();
    }
  }

  /** Resolves when the server has closed the connection, or has reset it. */
  async closed(): Promise<void> {
    while (!this.#isClosed) await this.#more();
  }

  destroy(): void {
    this.#socket.destroy();
  }

  #more(): Promise<void> {
    return new Promise((resolve, reject) => {
      const late = setTimeout(() => {
        reject(new Error(`no answer in ${DEADLINE_MS} ms`));
      }, DEADLINE_MS);
      this.#wake = () => {
        clearTimeout(late);
        resolve();
      };
    });
  }

  #parse(isHead: boolean): WireResponse | undefined {
    const headEnd = this.#received.indexOf('\r\n\r\n');
    if (headEnd < 0) return undefined;
    const [statusLine = '', ...lines] = this.#received.toString('latin1', 0, headEnd).split('\r\n');
    const status = Number(/^HTTP\/1\.1 (\d{3}) /.exec(statusLine)?.[1]);
    if (Number.isNaN(status)) throw new Error(`not HTTP: ${statusLine}`);
    const headers = new Map<string, string>();
    for (const line of lines) {
      const colon = line.indexOf(':');
      const name = line.slice(0, colon).toLowerCase();
      const value = line.slice(colon + 1).trim();
      headers.set(name, headers.has(name) ? `${headers.get(name) ?? ''}\n${value}` : value);
    }
    const start = headEnd + 4;
    if (status < 200) {
      this.#received = this.#received.subarray(start); // 100 Continue
      return this.#parse(isHead);
    }
    const size = isHead || status === 304 ? 0 : this.#bodySize(headers, start);
    if (size === undefined || this.#received.length < start + size) return undefined;
    const body = this.#received.toString('utf8', start, start + size);
    this.#received = this.#received.subarray(start + size);
    return { status, headers, body };
  }

  // Undefined while it cannot be told yet.
  #bodySize(headers: ReadonlyMap<string, string>, start: number): number | undefined {
    const length = headers.get('content-length');
    if (length !== undefined) return Number(length);
    if (headers.get('transfer-encoding') === 'chunked') {
      // Only the empty bodies of Node's own refusals come so.
      return this.#received.includes(LAST_CHUNK, start) ? LAST_CHUNK.length : undefined;
    }
    return this.#isClosed ? this.#received.length - start : undefined;
  }
}

const LAST_CHUNK = '0\r\n\r\n';

/** Sends bytes on a connection of their own, and gives the first answer. */
export async function exchange(
  port: number,
  data: string | Uint8Array,
  from?: string,
): Promise<WireResponse | undefined> {
  const wire = await Wire.connect(port, from);
  wire.send(data);
  try {
    return await wire.next();
  } finally {
    wire.destroy();
  }
}

/** A request as bytes: a GET of `path` with these header lines and the one that must be there. */
export function get(path: string, ...headers: readonly (string | Uint8Array)[]): Buffer {
  const lines = headers.flatMap((header) => [Buffer.from(header as string, 'latin1'), CRLF]);
  return Buffer.concat([
    Buffer.from(`GET ${path} HTTP/1.1\r\nHost: localhost\r\n`),
    ...lines,
    CRLF,
  ]);
}

const CRLF = Buffer.from('\r\n');
