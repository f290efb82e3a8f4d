// Requests through the router of `sharder run`, taken in turn with the same ones through the library that
// it uses, which looks at no key, and through an nginx that hashes the key by itself. One nginx answers for
// all shards.

import { setTimeout as sleep } from 'node:timers/promises';
import { renderRunNginx } from '../src/run/nginx-config.js';
import { freePorts } from '../src/run/probe.js';
import type { NginxOptions } from '../test/nginx.js';
import { onOneCore, withNginx } from './edge.js';
import { putLoad, type LoadResult } from './load.js';
import type { Bench } from './measure.js';
import type { Core } from './processes.js';
import { Server } from './server.js';

export const SHARDS = 3;
const USERS = 10_000;

/** One run of the router, and those of the others just before it. */
export interface RouterRun {
  readonly rate: number;
  readonly plainRate: number;
  readonly nginxRate: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly rssBytes: number;
}

export async function measureRouter(bench: Bench, connections: number): Promise<RouterRun[]> {
  const { cores, settings } = bench;
  const [port = 0, ...ports] = await freePorts(1 + SHARDS);
  return withNginx(bench, shardsOptions(ports, cores.load), () =>
    withNginx(bench, hashOptions(port, ports, cores.server), async (nginx) => {
      const plain = await Server.proxy(cores.server, 'plain', ports);
      const router = await Server.proxy(cores.server, 'router', ports);
      try {
        const put = (url: string, seconds: number) => load(bench, url, connections, seconds);
        for (const { url } of [plain, nginx, router]) await put(url, settings.warmSeconds);
        const runs: RouterRun[] = [];
        while (runs.length < settings.runs.judged) {
          const [plainRate, nginxRate] = [
            rateOf(await put(plain.url, settings.seconds)),
            rateOf(await put(nginx.url, settings.seconds)),
          ];
          await router.look();
          const ours = await put(router.url, settings.seconds);
          const { rssBytes } = await router.look();
          const { p50Ms, p99Ms } = ours;
          runs.push({ rate: rateOf(ours), plainRate, nginxRate, p50Ms, p99Ms, rssBytes });
        }
        return runs;
      } finally {
        await Promise.all([plain.stop(), router.stop()]);
      }
    }),
  );
}

function rateOf({ requests, seconds }: LoadResult): number {
  return requests / seconds;
}

// The shards: each on a port of its own.
function shardsOptions(ports: readonly number[], core: Core): NginxOptions {
  const listens = ports.map((port) => `listen 127.0.0.1:${port};`).join(' ');
  return {
    ...{ sharders: [], upstreams: '' },
    edit: {
      'nginx.conf': (text) => onOneCore(text, core),
      'edge.conf': (text) => `server {
        ${/listen .*;/.exec(text)?.[0] ?? ''} ${listens}
        location / { return 200 "ok"; keepalive_requests 1000000; }
      }`,
    },
  };
}

function hashOptions(port: number, ports: readonly number[], core: Core): NginxOptions {
  const text = renderRunNginx({
    ...{ host: '127.0.0.1', port, urlPattern: String.raw`^\/users\/([^\/]*)\/.*` },
    targets: ports.map((each, i) => ({ name: `server-${i}`, port: each })),
    drainSeconds: 1,
  });
  return {
    ...{ port, sharders: [], upstreams: '' },
    edit: { 'nginx.conf': () => onOneCore(text, core) },
  };
}

function load(
  { cores, hasWrk }: Bench,
  url: string,
  connections: number,
  seconds: number,
): Promise<LoadResult> {
  const names = { how: 'path', count: USERS } as const;
  return putLoad(cores.load, hasWrk, { url, connections, names }, () => sleep(seconds * 1000));
}
