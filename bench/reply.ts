// What the service answers, byte for byte, for servers that are compared with it: read off a real
// answer, so that it cannot drift from it.

import { once } from 'node:events';
import { get, type IncomingMessage } from 'node:http';

export interface Reply {
  readonly status: number;
  /** Names and values in turn, without those that Node adds by itself. */
  readonly headers: readonly string[];
  readonly body: string;
}

const ADDED_BY_NODE = ['date', 'connection', 'keep-alive'];

/** Asks a server once. Rejects unless it answers 200. */
export async function ask(url: string, user: string): Promise<Reply> {
  const [response] = (await once(
    get(`${url}/shard`, { headers: { REMOTE_USER: user }, agent: false }),
    'response',
  )) as [IncomingMessage];
  response.setEncoding('utf8');
  let body = '';
  for await (const chunk of response) body += String(chunk);
  const status = response.statusCode ?? 0;
  if (status !== 200) throw new Error(`${url} answered ${status}: ${body}`);
  const { rawHeaders } = response;
  const headers = rawHeaders.filter(
    (_, i) => !ADDED_BY_NODE.includes((rawHeaders[i - (i % 2)] ?? '').toLowerCase()),
  );
  return { status, headers, body };
}

/** The reply that a server to compare with was started with. */
export function replyOfArguments(): Reply {
  return JSON.parse(process.argv[2] ?? '') as Reply;
}
