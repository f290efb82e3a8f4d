// What happens to a kind, told by a running service: when the stream breaks off, it is asked for again
// from the last event on.

import type { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { SharderError, type ErrorCode } from '../errors.js';
import type { Route } from '../operations/route.js';
import type { KindEvent } from '../store/events.js';
import { Failure, type Connection } from './connection.js';

const ROUTE: Route = { method: 'GET', path: '/kinds/{kind}/watch' };
const TRY_AGAIN_AFTER_MS = 1_000;
// The service says something every fifteen seconds.
const SILENCE_MS = 45_000;

export interface WatchOptions {
  /** A version of the kind, or the id of an event; without it, from now on. */
  readonly since?: string | undefined;
  /** End when all is told. */
  readonly once?: boolean | undefined;
  /** Only what comes to this bucket, or leaves it. */
  readonly bucket?: string | undefined;
  /** Ends it. */
  readonly signal?: AbortSignal | undefined;
}

/** What comes: some events, and the place behind them. There may be none. */
export interface Told {
  readonly events: readonly KindEvent[];
  readonly place: string;
}

/**
 * The events of a kind, each once and in order, over any number of connections. Ends with the kind, or
 * when `once` is set and all is told. Throws what the service says; and `unreachable`, if it does not
 * answer at first.
 */
export async function* followRemote(
  connection: Connection,
  kind: string,
  { since, once, bucket, signal }: WatchOptions,
): AsyncGenerator<Told> {
  let place = since;
  let hasBegun = false;
  while (!signal?.aborted) {
    try {
      const input = { kind, since: place, bucket, ...(once && { once }) };
      const body = await connection.stream(ROUTE, input, { silenceMs: SILENCE_MS, signal });
      try {
        for await (const sent of readEvents(body)) {
          const trouble = sent.find(({ id, event }) => event !== undefined && id === undefined);
          const events = sent
            .filter((each) => each.event !== undefined && each !== trouble)
            .map(({ data }) => JSON.parse(data) as KindEvent);
          place = sent.findLast(({ id }) => id !== undefined)?.id ?? place;
          if (place !== undefined && (events.length > 0 || !hasBegun)) yield { events, place };
          hasBegun = true;
          if (trouble) throw said(trouble.data);
          if (events.at(-1)?.action === 'kind remove') return;
        }
      } finally {
        body.destroy();
      }
      if (once) return;
    } catch (error) {
      const mayPass = error instanceof Failure ? error.mayPass : !(error instanceof SharderError);
      const isThere = hasBegun || !(error instanceof SharderError && error.code === 'unreachable');
      if (!signal?.aborted && (!mayPass || !isThere)) throw error;
    }
    await sleep(TRY_AGAIN_AFTER_MS, undefined, signal && { signal }).catch(() => undefined);
  }
}

function said(data: string): SharderError {
  const { error } = JSON.parse(data) as { error: { code: ErrorCode; message: string } };
  return new SharderError(error.code, error.message);
}

interface Sent {
  readonly id: string | undefined;
  readonly event: string | undefined;
  readonly data: string;
}

// The service's own way of writing them: what a line begins with, and a blank line at the end of each.
// Those come together that are read together.
async function* readEvents(body: Readable): AsyncGenerator<Sent[]> {
  let rest = '';
  for await (const chunk of body.setEncoding('utf8') as AsyncIterable<string>) {
    const blocks = (rest + chunk).split('\n\n');
    rest = blocks.pop() ?? '';
    yield blocks.map(parseEvent);
  }
}

function parseEvent(block: string): Sent {
  const fields = new Map(
    block.split('\n').map((line): [string, string] => {
      const colon = line.indexOf(': ');
      return [line.slice(0, colon), line.slice(colon + 2)];
    }),
  );
  return { id: fields.get('id'), event: fields.get('event'), data: fields.get('data') ?? '' };
}
