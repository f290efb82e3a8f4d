// Requests through a real nginx with the files of nginx/: each run of a way to find the bucket is
// taken in turn with one of the same nginx that finds none, and has one upstream only. One nginx
// stands for all buckets. That a way did what its name says is counted at the Sharder.

import { randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { renderNginx } from '../src/deploy/nginx.js';
import { Nginx, type NginxOptions } from '../test/nginx.js';
import { BUCKETS, KIND } from './engines.js';
import { putLoad, type LoadResult } from './load.js';
import type { Bench } from './measure.js';
import type { Core } from './processes.js';
import { ask } from './reply.js';
import { Server } from './server.js';

/** So many users, each with an answer of their own in nginx's cache. */
export const EDGE_USERS = 100;

const SECRET = randomBytes(32).toString('hex');
const PASSWORD = 'password';

// So old is an answer in nginx's cache at most: nginx/sharder/ask.conf.
const CACHED_SECONDS = 10;

/** One run, and the run of the plain nginx just before it. */
export interface EdgeRun {
  readonly rate: number;
  readonly plainRate: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  /** How often a Sharder was asked for each request. */
  readonly asked: number;
}

/** A way for nginx to find the bucket. */
export interface Way {
  readonly edit?: NginxOptions['edit'];
  readonly isSigned?: boolean;
  /** How often a run may ask a Sharder: at least, at most. */
  asks(load: LoadResult): readonly [number, number];
}

/** The ways, each with the files of nginx/ but for what its `edit` changes. */
export const WAYS = {
  /** Finds nothing: what the others are compared with. */
  plain: {
    edit: {
      'sharder/route.conf': (text) =>
        withoutLines(text, /^(auth_request|add_header|proxy_ssl_)/).replace(
          /^proxy_pass .*$/m,
          'proxy_pass http://plain;',
        ),
    },
    asks: () => [0, 0],
  },
  /** auth_request, without nginx's cache. */
  uncached: {
    edit: { 'sharder/ask.conf': (text) => withoutLines(text, /^proxy_(cache|ignore_headers)/) },
    asks: ({ requests, issued }) => [requests, issued],
  },
  /** auth_request. */
  cached: {
    asks: ({ seconds }) => [0, EDGE_USERS * Math.ceil(1 + seconds / CACHED_SECONDS)],
  },
  /** Cookies that nginx verifies by itself. */
  signed: { isSigned: true, asks: () => [0, 0] },
} satisfies Record<string, Way>;

interface User {
  readonly name: string;
  readonly bucket: string;
  /** What the browser sends. */
  readonly headers: { readonly Authorization: string; readonly Cookie: string };
}

/** Everything but the nginx that is measured. */
export interface Edge {
  readonly sharder: Server;
  readonly users: readonly User[];
  /** The users' headers, for the load. */
  readonly file: string;
  readonly upstreams: string;
  readonly plain: Nginx;
}

/** Starts what an edge needs: a Sharder, buckets, and the plain nginx. */
export function withEdge<T>(bench: Bench, work: (edge: Edge) => Promise<T>): Promise<T> {
  const { cores, engines } = bench;
  return bench.tables.lend(engines[0], 'ordered', EDGE_USERS, async (table) => {
    const sharder = await Server.service(cores.load, table.url, { secret: SECRET });
    try {
      const users = await readUsers(sharder);
      return await withNginx(bench, bucketsOptions(cores.load), async (buckets) => {
        const file = join(buckets.dir, 'headers');
        const lines = users.map(
          ({ headers: { Authorization, Cookie } }) => `${Authorization}\t${Cookie}\n`,
        );
        writeFileSync(file, lines.join(''));
        const base = { sharder, users, file, upstreams: upstreamsOf(buckets) };
        return withNginx(bench, options(bench, base, WAYS.plain), async (plain) => {
          const edge = { ...base, plain };
          await check(edge, plain, () => 'plain');
          await load(bench, edge, plain, 64, bench.settings.warmSeconds);
          return work(edge);
        });
      });
    } finally {
      await sharder.stop();
    }
  });
}

export function measureWay(
  bench: Bench,
  edge: Edge,
  way: Way,
  connections: number,
): Promise<EdgeRun[]> {
  const { seconds, warmSeconds, runs } = bench.settings;
  return withNginx(bench, options(bench, edge, way), async (nginx) => {
    await check(edge, nginx, ({ bucket }) => (way === WAYS.plain ? 'plain' : bucket));
    await load(bench, edge, nginx, connections, warmSeconds);
    const all: EdgeRun[] = [];
    while (all.length < runs.judged) {
      const plain = await load(bench, edge, edge.plain, connections, seconds);
      const before = await countAsked(edge.sharder);
      const ours = await load(bench, edge, nginx, connections, seconds);
      const asked = (await countAsked(edge.sharder)) - before;
      const [least, most] = way.asks(ours);
      if (asked < least || asked > most) {
        throw new Error(
          `${ours.requests} requests asked a Sharder ${asked} times, and not ${least} to ${most}`,
        );
      }
      all.push({
        rate: ours.requests / ours.seconds,
        plainRate: plain.requests / plain.seconds,
        p50Ms: ours.p50Ms,
        p99Ms: ours.p99Ms,
        asked: asked / ours.requests,
      });
    }
    return all;
  });
}

// As a table is filled; each with the cookie that the Sharder issues.
function readUsers(sharder: Server): Promise<User[]> {
  return Promise.all(
    Array.from({ length: EDGE_USERS }, async (_, i): Promise<User> => {
      const name = `user-${String(i + 1).padStart(8, '0')}`;
      const { headers } = await ask(sharder.url, name);
      const at = headers.findIndex((text) => text.toLowerCase() === 'set-cookie');
      const [cookie = ''] = (headers[at + 1] ?? '').split(';');
      const login = Buffer.from(`${name}:${PASSWORD}`).toString('base64');
      return {
        name,
        bucket: `${KIND}-${(i + 1) % BUCKETS}`,
        headers: { Authorization: `Basic ${login}`, Cookie: cookie },
      };
    }),
  );
}

const bucketNames = Array.from({ length: BUCKETS }, (_, i) => `${KIND}-${i}`);

// Answers with the bucket's name, as the path says; with "plain" where it says nothing.
function bucketsOptions(core: Core): NginxOptions {
  const locations = bucketNames.map(
    (name) => `location /${name}/ { return 200 "${name}"; keepalive_requests 1000000; }`,
  );
  return {
    sharders: [],
    upstreams: '',
    edit: {
      'nginx.conf': (text) => onOneCore(text, core),
      'edge.conf': (text) => `server {
        ${/listen .*;/.exec(text)?.[0] ?? ''}
        location / { return 200 "plain"; keepalive_requests 1000000; }
        ${locations.join('\n')}
      }`,
    },
  };
}

// The plain one keeps as many connections as the others together.
function upstreamsOf({ url, port }: Nginx): string {
  const buckets = bucketNames.map((name) => ({ kind: KIND, name, url: `${url}/${name}` }));
  const { text } = renderNginx(buckets);
  const kept = 32 * BUCKETS;
  return `${text}upstream plain { server 127.0.0.1:${port}; keepalive ${kept}; }\n`;
}

function options(
  { cores }: Bench,
  { sharder, users, upstreams }: Omit<Edge, 'plain'>,
  way: Way,
): NginxOptions {
  const { edit, isSigned = false } = way;
  return {
    sharders: [Number(new URL(sharder.url).port)],
    upstreams: way === WAYS.plain ? withoutMaps(upstreams) : upstreams,
    users: Object.fromEntries(users.map(({ name }) => [name, PASSWORD])),
    ...(isSigned ? { secret: SECRET } : {}),
    edit: { ...edit, 'nginx.conf': (text) => onOneCore(text, cores.server) },
  };
}

// One process, and that on a core; nginx does it by itself.
export function onOneCore(text: string, core: Core): string {
  const affinity = core === undefined ? '' : `worker_cpu_affinity 1${'0'.repeat(core)};`;
  const changed = text.replace('worker_processes auto;', `worker_processes 1; ${affinity}`);
  if (changed === text) throw new Error('nginx.conf has another number of processes');
  return changed;
}

function withoutLines(text: string, pattern: RegExp): string {
  const lines = text.split('\n');
  const kept = lines.filter((line) => !pattern.test(line));
  if (kept.length === lines.length) throw new Error(`no line is like ${String(pattern)}`);
  return kept.join('\n');
}

// They are by a variable that only auth_request_set makes.
function withoutMaps(upstreams: string): string {
  return upstreams.replaceAll(/^map [^}]*\}\n/gm, '');
}

export async function withNginx<T>(
  { onEnd }: Bench,
  options: NginxOptions,
  work: (nginx: Nginx) => Promise<T>,
): Promise<T> {
  const starting = Nginx.start(options);
  onEnd(() =>
    starting.then(
      (nginx) => nginx.stop(),
      () => undefined,
    ),
  );
  const nginx = await starting;
  try {
    return await work(nginx);
  } finally {
    await nginx.stop();
  }
}

// Each user gets to the right bucket, and nobody without a password. Fills nginx's cache, too.
async function check(
  { users }: Pick<Edge, 'users'>,
  nginx: Nginx,
  expected: (user: User) => string,
): Promise<void> {
  for (const user of users) {
    const response = await fetch(nginx.url, { headers: user.headers });
    const answer = `${response.status} ${await response.text()}`;
    if (answer !== `200 ${expected(user)}`) {
      throw new Error(`${user.name} got ${answer}, and not ${expected(user)}: ${nginx.log}`);
    }
  }
  const { status } = await fetch(nginx.url);
  if (status !== 401) throw new Error(`without a password the answer was ${status}`);
}

function load(
  { cores, hasWrk }: Bench,
  { file }: Edge,
  nginx: Nginx,
  connections: number,
  seconds: number,
): Promise<LoadResult> {
  const names = { how: 'file', file } as const;
  const url = `${nginx.url}/`;
  return putLoad(cores.load, hasWrk, { url, connections, names }, () => sleep(seconds * 1000));
}

async function countAsked({ url }: Server): Promise<number> {
  const text = await (await fetch(`${url}/metrics`)).text();
  const counts = text.matchAll(/^sharder_requests_total\{route="auth",[^}]*\} (\d+)$/gm);
  return [...counts].reduce((sum, [, count]) => sum + Number(count), 0);
}
