// docs/proxies.md: its text, and the programs that run it.

import assert from 'node:assert/strict';
import { execFileSync, spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { temporaryDirectory } from './engines.js';
import { eventually } from './load.js';
import { freePort } from './postgres.js';

const PAGE = readFileSync(fileURLToPath(new URL('../docs/proxies.md', import.meta.url)), 'utf8');

/** The blocks of code below a heading, of one language. */
export function blocks(heading: string, language: string): string[] {
  const [, section = ''] = PAGE.split(`\n## ${heading}\n`);
  const own = section.split('\n## ')[0] ?? '';
  const found = [...own.matchAll(/^```(\w+)\n(.*?)^```$/gms)].filter(([, of]) => of === language);
  assert.ok(found.length > 0, `no ${language} below ${heading}`);
  return found.map(([, , text = '']) => text);
}

export function block(heading: string, language: string): string {
  return blocks(heading, language)[0] ?? '';
}

/** One of the page's proxies that can be run here. */
export interface Program {
  readonly name: string;
  /** The command that runs it, with the page's text for these addresses in this directory. */
  prepare(dir: string, place: (text: string) => string): string[];
  readonly env?: () => NodeJS.ProcessEnv;
}

const caddyHash = (password: string): string =>
  execFileSync('caddy', ['hash-password', '--plaintext', password], { encoding: 'utf8' }).trim();
const cryptHash = (password: string): string =>
  execFileSync('openssl', ['passwd', '-6', password], { encoding: 'utf8' }).trim();

export const programs: Program[] = [
  {
    name: 'Caddy',
    prepare(dir, place) {
      const file = join(dir, 'Caddyfile');
      // Its port for administration would be the same for every Caddy on the machine.
      writeFileSync(file, `{\n\tadmin off\n}\n\n${place(block('Caddy', 'caddyfile'))}`);
      return ['caddy', 'run', '--config', file];
    },
    env: () => ({ IANA: caddyHash('iana'), BRIAN: caddyHash('brian') }),
  },
  {
    name: 'HAProxy',
    prepare(dir, place) {
      const file = join(dir, 'haproxy.cfg');
      writeFileSync(file, place(block('HAProxy', 'haproxy')));
      writeFileSync(join(dir, 'sharder.lua'), place(block('HAProxy', 'lua')));
      writeFileSync(join(dir, 'buckets.map'), block('HAProxy', 'text'));
      return ['haproxy', '-db', '-f', file];
    },
    env: () => ({ IANA: cryptHash('iana'), BRIAN: cryptHash('brian') }),
  },
];

/** For `describe`: skips where the program is not there, but never in CI. */
export function needsProgram({ name }: Program): { readonly skip: string | false } {
  if (spawnSync(name.toLowerCase(), ['version']).error === undefined) return { skip: false };
  const why = `${name} is not installed: run test/install-servers.sh`;
  if (process.env.CI) throw new Error(why);
  return { skip: why };
}

export interface ProxyOptions {
  /** The Sharder's URL. */
  readonly sharder: string;
  /** Those of hub-0 and hub-1. */
  readonly buckets: readonly [string, string];
  readonly proxySecret: string;
}

/** A proxy with the page's text, on a port of its own. Its users are iana and brian. */
export class Proxy {
  readonly url: string;
  readonly #process: ChildProcess;
  #output = '';

  private constructor(url: string, child: ChildProcess) {
    this.url = url;
    this.#process = child;
    for (const stream of [child.stdout, child.stderr])
      stream?.setEncoding('utf8').on('data', (text: string) => (this.#output += text));
  }

  static async start(
    program: Program,
    { sharder, buckets, proxySecret }: ProxyOptions,
  ): Promise<Proxy> {
    const dir = temporaryDirectory();
    const port = await freePort();
    const place = (text: string): string =>
      text
        .replaceAll('127.0.0.1:8080', `127.0.0.1:${port}`)
        .replaceAll('127.0.0.1:8888', new URL(sharder).host)
        .replaceAll('10.0.0.10:8000', new URL(buckets[0]).host)
        .replaceAll('10.0.0.11:8000', new URL(buckets[1]).host)
        .replaceAll('/etc/haproxy', dir);
    const [name = '', ...args] = program.prepare(dir, place);
    const child = spawn(name, args, {
      cwd: dir,
      env: {
        ...process.env,
        HOME: dir,
        SHARDER_PROXY_SECRET: proxySecret,
        ...program.env?.(),
      },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const proxy = new Proxy(`http://127.0.0.1:${port}`, child);
    await eventually('it listens', () => {
      assert.equal(child.exitCode, null, proxy.#output);
      return fetch(proxy.url).then(Boolean, () => false);
    });
    return proxy;
  }

  async stop(): Promise<void> {
    const exited = once(this.#process, 'exit');
    this.#process.kill('SIGTERM');
    await exited;
  }
}
