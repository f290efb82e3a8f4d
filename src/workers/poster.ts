// Sends POST requests to addresses that were checked before. Looks no name up, and follows no redirect.

import { Agent as HttpAgent, request as httpRequest } from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';
import type { LookupFunction } from 'node:net';
import type { CallTarget } from './call-target.js';

export class Poster {
  readonly #timeoutMs: number;
  readonly #http = new HttpAgent({ keepAlive: true });
  readonly #https = new HttpsAgent({ keepAlive: true });

  /** An answer that takes longer is not waited for. */
  constructor(timeoutMs: number) {
    this.#timeoutMs = timeoutMs;
  }

  /** Resolves with the status of the answer, whose body is dropped. */
  post(
    { url, addresses }: CallTarget,
    path: string,
    body: string,
    headers: Readonly<Record<string, string>>,
  ): Promise<number> {
    const isHttps = url.protocol === 'https:';
    return new Promise((resolve, reject) => {
      const request = (isHttps ? httpsRequest : httpRequest)({
        protocol: url.protocol,
        host: url.hostname.replace(/^\[|\]$/g, ''),
        port: url.port,
        method: 'POST',
        path,
        headers: {
          ...headers,
          Host: url.host,
          'Content-Type': 'application/json',
          'Content-Length': Buffer.byteLength(body),
        },
        agent: isHttps ? this.#https : this.#http,
        lookup: answerWith(addresses),
        signal: AbortSignal.timeout(this.#timeoutMs),
      });
      request.once('response', (answer) => {
        answer.on('error', () => undefined).resume();
        resolve(answer.statusCode ?? 0);
      });
      // An upgrade is nothing that was asked for.
      request.once('upgrade', (_answer, socket) => {
        socket.destroy();
        reject(new Error('it answered 101'));
      });
      request.on('error', reject);
      request.once('close', () => {
        reject(new Error('it closed the connection without an answer'));
      });
      request.end(body);
    });
  }

  close(): void {
    this.#http.destroy();
    this.#https.destroy();
  }
}

// The addresses were looked up, and checked. A second look could give others.
function answerWith(addresses: CallTarget['addresses']): LookupFunction {
  return (_host, { all }, callback) => {
    const [{ address, family }] = addresses;
    if (all) callback(null, [...addresses]);
    else callback(null, address, family);
  };
}
