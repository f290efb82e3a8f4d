// What happens to a kind, told by a running service: when the stream breaks off, it is asked for again
// from the last event on.

import type { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { SharderError, type ErrorCode } from '../errors.js';
import { STREAMS } from '../operations/streams.js';
import type { KindEvent } from '../store/events.js';
import { Failure, type Remote } from './remote.js';
import type { Told } from './watch.js';

const TRY_AGAIN_AFTER_MS = 1_000;
// The service says something every fifteen seconds.
const SILENCE_MS = 45_000;

/**
 * The events of a kind, each once and in order, over any number of connections. Ends with the kind, or
 * when `once` is set and all is told. Throws what the service says; and `unreachable`, if it does not
 * answer at first.
 */
export async function* followRemote(
  remote: Remote,
  kind: string,
  { since, once }: { readonly since?: string | undefined; readonly once?: boolean | undefined },
): AsyncGenerator<Told> {
  let place = since;
  let hasBegun = false;
  for (;;) {
    try {
      const input = { kind, since: place, ...(once && { once }) };
      const body = await remote.stream(STREAMS.watch, input, undefined, SILENCE_MS);
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
      if (once) return;
    } catch (error) {
      const mayPass = error instanceof Failure ? error.mayPass : !(error instanceof SharderError);
      const isThere = hasBegun || !(error instanceof SharderError && error.code === 'unreachable');
      if (!mayPass || !isThere) throw error;
    }
    await sleep(TRY_AGAIN_AFTER_MS);
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
