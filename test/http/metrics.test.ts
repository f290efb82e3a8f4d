// GET /metrics: names by the conventions of Prometheus, counts that move as they should, and no user.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { hubs } from '../engines.js';
import { start, type Running } from './start.js';

interface Metric {
  readonly type: string;
  readonly help: string;
  /** By name and labels as they are written: `name{a="b"}`. */
  readonly samples: Map<string, number>;
}

// The text format, version 0.0.4.
async function scrape(service: Running): Promise<Map<string, Metric>> {
  const response = await service.ask('/metrics');
  assert.equal(response.status, 200);
  assert.match(response.headers.get('content-type') ?? '', /^text\/plain; version=0\.0\.4/);
  const metrics = new Map<string, Metric>();
  let help = '';
  let current: Metric | undefined;
  for (const line of (await response.text()).split('\n')) {
    const [, word, name = '', rest = ''] = /^# (HELP|TYPE) (\S+) (.+)$/.exec(line) ?? [];
    if (word === 'HELP') help = rest;
    else if (word === 'TYPE')
      metrics.set(name, (current = { type: rest, help, samples: new Map() }));
    else if (line !== '') {
      const [, key, value] = /^([a-z_][a-z0-9_]*(?:\{.*\})?) (\S+)$/i.exec(line) ?? [];
      assert.ok(current && key !== undefined && value !== undefined, `not a sample: ${line}`);
      assert.ok(!current.samples.has(key), `twice: ${key}`);
      current.samples.set(key, Number(value));
    }
  }
  return metrics;
}

async function read(service: Running, ...keys: string[]): Promise<(number | undefined)[]> {
  const all = await scrape(service);
  return keys.map((key) => {
    const name = key.replace(/\{.*/, '').replace(/_(bucket|sum|count)$/, '');
    return (all.get(key.replace(/\{.*/, '')) ?? all.get(name))?.samples.get(key);
  });
}

describe('/metrics', () => {
  it('has a type, a help text and a name by the conventions for every metric', async () => {
    const service = await start();
    await service.ask('/shard', 'iana');
    const metrics = await scrape(service);
    for (const name of EXPECTED) assert.ok(metrics.has(name), name);
    for (const [name, { type, help, samples }] of metrics) {
      assert.match(name, /^(sharder|process|nodejs)_[a-z0-9_]+$/);
      assert.match(type, /^(counter|gauge|histogram|summary)$/);
      assert.ok(help.length > 5, name);
      for (const [key, value] of samples) {
        assert.ok(key.startsWith(name), key);
        assert.ok(!Number.isNaN(value), key);
      }
      if (!name.startsWith('sharder_')) continue; // not ours to name
      assert.equal(name.endsWith('_total'), type === 'counter', name);
      assert.doesNotMatch(name, /_(ms|millis|minutes|count|sum|bucket)$/);
      assert.ok(help.endsWith('.'), name);
    }
  });

  it('counts requests by route and status', async () => {
    const service = await start({ buckets: { 'hub-0': { url: 'http://hub-0.example' } } });
    const asked: readonly [route: string, path: string, status: number, method?: string][] = [
      ['shard', '/shard', 200],
      ['shard', '/shard', 200, 'HEAD'],
      ['shard', '/shard/hub', 200],
      ['shard', '/shard/nosuch', 404],
      ['shard', '/shard', 405, 'POST'],
      ['auth', '/auth', 200],
      ['auth', '/auth/hub/x', 200, 'POST'],
      ['go', '/go', 302],
      ['go', '/go/hub', 302],
      ['go', '/go?next=//evil.example', 400],
      ['healthz', '/healthz', 200],
      ['readyz', '/readyz', 200],
      ['other', '/nothing', 404],
      ['other', '/go/hub/deeper', 404],
      ['other', '/shard/hub/deeper', 404],
      ['other', '/healthzz', 404],
    ];
    const expected = new Map<string, number>();
    for (const [route, path, status, method = 'GET'] of asked) {
      const response = await service.ask(path, 'iana', { method });
      assert.equal(response.status, status, path);
      const key = `sharder_requests_total{route="${route}",status="${status}"}`;
      expected.set(key, (expected.get(key) ?? 0) + 1);
    }
    assert.equal((await service.ask('/shard')).status, 401);
    expected.set('sharder_requests_total{route="shard",status="401"}', 1);
    const counted = (await scrape(service)).get('sharder_requests_total')?.samples;
    assert.deepEqual(counted, new Map([...expected].sort(byOrder(counted))));
    const [scrapes] = await read(service, 'sharder_requests_total{route="metrics",status="200"}');
    assert.equal(scrapes, 1);
  });

  it('counts answers by kind and reason, and the members of each bucket', async () => {
    const service = await start({ buckets: hubs(2), kinds: ['homedir'] });
    for (const name of ['a', 'b', 'c', 'a', 'a']) await service.ask('/shard', name);
    await service.ask('/auth/homedir', 'a');
    await service.ask('/shard/nosuch', 'a');
    assert.deepEqual(
      await read(
        service,
        'sharder_assignments_total{kind="hub",reason="assigned"}',
        'sharder_assignments_total{kind="hub",reason="existing"}',
        'sharder_assignments_total{kind="homedir",reason="assigned"}',
        'sharder_bucket_members{kind="hub",bucket="hub-0"}',
        'sharder_bucket_members{kind="hub",bucket="hub-1"}',
        'sharder_bucket_members{kind="homedir",bucket="homedir-0"}',
        'sharder_database_up',
        'sharder_queue_length',
      ),
      [3, 2, 1, 2, 1, 1, 1, 0],
    );
  });

  it('counts what came from memory, and what the database was asked for', async () => {
    const service = await start({ limits: { cacheSize: 2 } });
    // A write drops what is trusted of the cache on SQLite: the first asks again.
    for (const name of ['a', 'b', 'a', 'b', 'a', 'b']) await service.ask('/shard', name);
    const keys = [
      'sharder_cache_hits_total',
      'sharder_cache_misses_total',
      'sharder_cache_entries',
    ];
    const [hits = 0, misses = 0, entries] = await read(service, ...keys);
    assert.equal(hits + misses, 6);
    assert.ok(hits >= 2 && misses >= 2, `${hits} hits, ${misses} misses`);
    assert.equal(entries, 2);
  });

  it('measures the size and the time of each assign transaction', async () => {
    const service = await start();
    const names = Array.from({ length: 40 }, (_, i) => `user-${i}`);
    await Promise.all(names.map((name) => service.ask('/shard', name)));
    const [sum, count = 0, largest, timed] = await read(
      service,
      'sharder_batch_size_sum{kind="hub"}',
      'sharder_batch_size_count{kind="hub"}',
      'sharder_batch_size_bucket{le="1024",kind="hub"}',
      'sharder_transaction_seconds_count{kind="hub"}',
    );
    assert.equal(sum, 40);
    assert.ok(count >= 1 && count <= 40);
    assert.equal(largest, count);
    assert.equal(timed, count);
  });

  it('never goes backwards', async () => {
    const service = await start();
    let before = await scrape(service);
    for (let round = 0; round < 5; round++) {
      for (const name of ['a', `b-${round}`]) await service.ask('/shard', name);
      await service.ask('/nothing');
      const now = await scrape(service);
      for (const [name, { type, samples }] of before) {
        if (type !== 'counter' && type !== 'histogram') continue;
        for (const [key, value] of samples)
          assert.ok((now.get(name)?.samples.get(key) ?? -1) >= value, key);
      }
      before = now;
    }
  });

  it('names no user, no path and no address, whatever was asked', async () => {
    const service = await start();
    for (const name of ['iana', 'žofie', 'evil"} 1\\n']) await service.ask('/shard', name);
    await service.ask('/shard/iana-kind', 'iana');
    await service.ask('/iana-path', 'iana');
    const text = await (await service.ask('/metrics')).text();
    assert.doesNotMatch(text, /iana|žofie|evil|127\.0\.0\.1/);
  });

  it('has label values for kinds that are there alone, so that nobody can flood it', async () => {
    const service = await start({ kinds: ['homedir'] });
    for (let i = 0; i < 50; i++) await service.ask(`/shard/nosuch-${i}`, 'iana');
    for (const { samples } of (await scrape(service)).values()) {
      for (const key of samples.keys()) assert.doesNotMatch(key, /nosuch/);
    }
  });
});

const EXPECTED = [
  'sharder_requests_total',
  'sharder_assignments_total',
  'sharder_stale_answers_total',
  'sharder_bucket_members',
  'sharder_queue_length',
  'sharder_database_up',
  'sharder_cache_entries',
  'sharder_cache_hits_total',
  'sharder_cache_misses_total',
  'sharder_batch_size',
  'sharder_transaction_seconds',
  'process_cpu_seconds_total',
  'nodejs_eventloop_lag_seconds',
];

/** Puts keys in the order of another map, so that only what is in them is compared. */
function byOrder(map: ReadonlyMap<string, number> | undefined) {
  const order = [...(map?.keys() ?? [])];
  return ([a]: [string, number], [b]: [string, number]) => order.indexOf(a) - order.indexOf(b);
}
