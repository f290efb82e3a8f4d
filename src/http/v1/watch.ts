// GET /v1/kinds/{kind}/watch: what happens to a kind, as server-sent events (WHATWG HTML, 9.2).

import { once as onceOf } from 'node:events';
import type { RequestHandler, Response, Router } from 'express';
import { SharderError } from '../../errors.js';
import { checkInput } from '../../operations/operation.js';
import { checkKindAllowed } from '../../operations/kinds-allowed.js';
import { STREAMS } from '../../operations/streams.js';
import type { Right } from '../../scopes.js';
import { formatPlace, type EventPage, type KindEvent } from '../../store/events.js';
import { concerns, follow } from '../../watch/follow.js';
import type { Ticker } from '../../watch/ticker.js';
import { toErrorReply } from '../errors.js';
import {
  callerOf,
  readQuery,
  refuseBody,
  refuseConditions,
  toExpress,
  type Caller,
} from './request.js';

export interface WatchOptions {
  /** How many may watch at once. */
  readonly limit: number;
  /** How many of them with one token, so that none keeps all others from watching. */
  readonly limitPerToken: number;
  /** Who takes nothing for so long is cut off. */
  readonly patienceMs: number;
  /** How often those are told something to whom nothing happens. */
  readonly heartbeatMs: number;
}

const DEFAULTS: WatchOptions = {
  limit: 1_000,
  limitPerToken: 500,
  patienceMs: 10_000,
  heartbeatMs: 15_000,
};

// After so long a client whose stream has ended comes again.
const RETRY_MS = 1_000;

// What is written at once, so that who reads slowly is told from who does not read.
const PIECE_SIZE = 16_384;

/** What one of them wants to be told. */
export interface Wanted {
  readonly since?: string | undefined;
  readonly once: boolean;
  readonly bucket?: string | undefined;
}

/** All who watch by this process. */
export class Watchers {
  readonly #ticker: Ticker;
  readonly #options: WatchOptions;
  readonly #onCutOff: (who: Caller) => void;
  /** With whose token each was begun. */
  readonly #open = new Map<AbortController, string>();
  #isStopping = false;

  /** `onCutOff` is told of those who take nothing. */
  constructor(
    ticker: Ticker,
    options: Partial<WatchOptions> = {},
    onCutOff: (who: Caller) => void = () => undefined,
  ) {
    this.#ticker = ticker;
    this.#options = { ...DEFAULTS, ...options };
    this.#onCutOff = onCutOff;
  }

  /** How many there are. */
  get count(): number {
    return this.#open.size;
  }

  /** Ends all streams, and begins no other. */
  stop(): void {
    this.#isStopping = true;
    for (const each of this.#open.keys()) each.abort();
  }

  /** Streams to one of them, until they go or `stop`. Throws `overloaded`, or what `follow` throws first. */
  async stream(res: Response, kind: string, { since, once, bucket }: Wanted): Promise<void> {
    const { limit, limitPerToken, heartbeatMs } = this.#options;
    const { actor } = callerOf(res);
    const own = [...this.#open.values()].filter((each) => each === actor).length;
    if (this.#isStopping || this.count >= limit || own >= limitPerToken) {
      const why = this.#isStopping
        ? 'the service stops'
        : this.count >= limit
          ? `${limit} watch already`
          : `${own} watch with this token already`;
      throw new SharderError('overloaded', `${why}; try again`);
    }
    const end = new AbortController();
    const { signal } = end;
    this.#open.set(end, actor);
    res.once('close', () => {
      end.abort();
    });
    let heartbeat: NodeJS.Timeout | undefined;
    try {
      const pages = follow(this.#ticker, kind, { since, once, signal });
      let next = await pages.next(); // what is wrong at once is an error like any other
      res.set('X-Accel-Buffering', 'no').type('text/event-stream');
      heartbeat = setInterval(() => {
        if (!res.writableNeedDrain) res.write(':\n\n');
      }, heartbeatMs);
      const begin = since ?? (next.done ? '' : formatPlace(next.value.next));
      await this.#write(res, `retry: ${RETRY_MS}\nid: ${begin}\n\n`, end);
      for (; !next.done && !signal.aborted; next = await pages.next()) {
        const pieces = bucket === undefined ? piecesOf(next.value) : partOf(next.value, bucket);
        for (const piece of pieces) await this.#write(res, piece, end);
      }
    } catch (error) {
      if (!res.headersSent) throw error;
      if (signal.aborted) return;
      const { code, message } = toErrorReply(error);
      res.write(`event: ${code}\ndata: ${JSON.stringify({ error: { code, message } })}\n\n`);
      if (!(error instanceof SharderError)) throw error; // for the log
    } finally {
      this.#open.delete(end);
      clearInterval(heartbeat);
      // Nobody is waited for who does not read, nor made believe that everything was told.
      const isCut = res.writableNeedDrain || (once && signal.aborted);
      if (res.headersSent && isCut) res.destroy();
      else if (res.headersSent) res.end();
    }
  }

  // Resolves when more may be written, or `end` is aborted.
  async #write(res: Response, text: string, end: AbortController): Promise<void> {
    if (end.signal.aborted || res.write(text)) return;
    // Looked at twice, for where the process itself was held up a timer comes before what has been taken.
    let looks = 0;
    const late = setInterval(() => {
      if (++looks < 2) return;
      this.#onCutOff(callerOf(res));
      res.destroy();
      end.abort();
    }, this.#options.patienceMs / 2);
    await onceOf(res, 'drain', { signal: end.signal }).catch(() => undefined);
    clearInterval(late);
  }
}

// A page is the same for all who are told it.
const rendered = new WeakMap<EventPage, readonly string[]>();

function piecesOf(page: EventPage): readonly string[] {
  const before = rendered.get(page);
  if (before) return before;
  const pieces: string[] = [];
  let piece = '';
  for (const event of page.events) {
    piece += render(event);
    if (piece.length < PIECE_SIZE) continue;
    pieces.push(piece);
    piece = '';
  }
  if (piece !== '') pieces.push(piece);
  rendered.set(page, pieces);
  return pieces;
}

// What concerns a bucket, and how far the rest is: whoever comes again need not be told that once more.
function partOf({ events, next }: EventPage, bucket: string): readonly string[] {
  const part = events.filter((event) => concerns(event, bucket));
  const last = events.length > 0 ? `id: ${formatPlace(next)}\n\n` : '';
  return [part.map(render).join('') + last].filter(Boolean);
}

function render(event: KindEvent): string {
  return `id: ${event.id}\nevent: ${event.action}\ndata: ${JSON.stringify(event)}\n\n`;
}

/** Adds the route. */
export function addWatch(
  router: Router,
  watchers: Watchers,
  admit: (right: Right) => RequestHandler,
): void {
  router.get(toExpress(STREAMS.watch.path), admit('read'), async (req, res) => {
    const query = readQuery(STREAMS.watch.input, req);
    const input = checkInput(STREAMS.watch, { ...query, ...req.params });
    checkKindAllowed(input.kind, callerOf(res).permission.kinds);
    refuseBody(req);
    refuseConditions(req);
    const last = req.get('Last-Event-ID') ?? '';
    const since = last === '' ? input.since : last;
    // What is asked for with HEAD has no body that could go on.
    const once = input.once || req.method === 'HEAD';
    await watchers.stream(res, input.kind, { since, once, bucket: input.bucket });
  });
}
