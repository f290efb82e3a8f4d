// GET /metrics, for Prometheus. No metric names a user. What a known user's request counts is a
// plain number, read when somebody asks.

import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from 'prom-client';
import { listBuckets } from '../store/buckets.js';
import type { Sharder } from '../sharder.js';
import type { Replies } from './reply.js';
import type { Watchers } from './v1/watch.js';

const ROUTES = [
  ...(['shard', 'auth', 'go', 'healthz', 'readyz', 'metrics'] as const),
  ...(['openapi.json', 'docs', 'v1', 'other'] as const),
] as const;
export type Route = (typeof ROUTES)[number];

/** How often each route answered with each status. */
export class RequestCounts {
  readonly #counts = new Map<Route, Map<number, number>>(ROUTES.map((route) => [route, new Map()]));

  add(route: Route, status: number): void {
    const statuses = this.#counts.get(route);
    statuses?.set(status, (statuses.get(status) ?? 0) + 1);
  }

  forEach(visit: (route: Route, status: number, count: number) => void): void {
    for (const [route, statuses] of this.#counts) {
      for (const [status, count] of statuses) visit(route, status, count);
    }
  }
}

export function createMetrics(
  sharder: Sharder,
  replies: Replies,
  requests: RequestCounts,
  watchers: Watchers,
): Registry {
  const register = new Registry();
  const registers = [register];
  collectDefaultMetrics({ register });

  new Counter({
    name: 'sharder_requests_total',
    help: 'Requests answered, by route and status.',
    labelNames: ['route', 'status'],
    registers,
    collect() {
      this.reset();
      requests.forEach((route, status, count) => {
        this.inc({ route, status }, count);
      });
    },
  });
  new Counter({
    name: 'sharder_assignments_total',
    help: 'Answers given, by kind and reason: the object had its bucket (existing) or was placed (assigned), or its bucket was computed (hashed) or pinned.',
    labelNames: ['kind', 'reason'],
    registers,
    collect() {
      this.reset();
      for (const [{ bucket, reason }, count] of replies.counts()) {
        this.inc({ kind: bucket.kind, reason }, count);
      }
    },
  });
  new Counter({
    name: 'sharder_stale_answers_total',
    help: 'Answers from what was known before, given while the database was down.',
    labelNames: ['kind'],
    registers,
    collect() {
      this.reset();
      for (const [{ bucket, isStale }, count] of replies.counts()) {
        if (isStale) this.inc({ kind: bucket.kind }, count);
      }
    },
  });
  new Gauge({
    name: 'sharder_bucket_members',
    help: 'Objects in each bucket. Missing while the database is down.',
    labelNames: ['kind', 'bucket'],
    registers,
    async collect() {
      this.reset();
      if (!sharder.status.isUp) return;
      const buckets = await sharder.database.read(listBuckets).catch(() => []);
      for (const { kind, name, members } of buckets) this.set({ kind, bucket: name }, members);
    },
  });

  const gauge = (name: string, help: string, read: () => number): void => {
    new Gauge({
      name,
      help,
      registers,
      collect() {
        this.set(read());
      },
    });
  };
  const counter = (name: string, help: string, read: () => number): void => {
    new Counter({
      name,
      help,
      registers,
      collect() {
        this.reset();
        this.inc(read());
      },
    });
  };
  gauge(
    'sharder_queue_length',
    'Requests that wait for the database.',
    () => sharder.status.waiting,
  );
  gauge('sharder_database_up', '1 while the database can be used.', () => +sharder.status.isUp);
  gauge('sharder_watchers', 'Open streams of events.', () => watchers.count);
  gauge('sharder_cache_entries', 'Answers kept in memory.', () => sharder.status.cached);
  counter('sharder_cache_hits_total', 'Answers from memory.', () => sharder.status.cacheHits);
  counter(
    'sharder_cache_misses_total',
    'Answers for which the database was asked.',
    () => sharder.status.cacheMisses,
  );

  const batchSize = new Histogram({
    name: 'sharder_batch_size',
    help: 'Names in one assign transaction.',
    labelNames: ['kind'],
    buckets: [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024],
    registers,
  });
  const transaction = new Histogram({
    name: 'sharder_transaction_seconds',
    help: 'Time of one assign transaction, waiting for its lock included.',
    labelNames: ['kind'],
    buckets: [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5],
    registers,
  });
  sharder.on('batch', (kind, names, seconds) => {
    batchSize.observe({ kind }, names);
    transaction.observe({ kind }, seconds);
  });
  return register;
}
