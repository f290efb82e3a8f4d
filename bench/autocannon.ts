// The load where wrk is not installed; a process of its own. Arguments: URL, connections, and which
// names, as for names.lua. Ends at SIGINT and prints the same.

import { readFileSync } from 'node:fs';
import autocannon, { type Result } from 'autocannon';

const [url = '', connections = '1', how = '', number = '1'] = process.argv.slice(2);
let issued = 0;

const pad = (n: number): string => `user-${String(n).padStart(8, '0')}`;
const hex = (): string =>
  Math.floor(Math.random() * 2 ** 32)
    .toString(16)
    .padStart(8, '0');

const lines = how === 'file' ? readFileSync(number, 'utf8').trimEnd().split('\n') : [];

function headers(): Record<string, string> {
  if (how !== 'file') return { REMOTE_USER: name() };
  const line = lines[Math.floor(Math.random() * lines.length)] ?? '';
  const [authorization = '', cookie = ''] = line.split('\t');
  return { Authorization: authorization, Cookie: cookie };
}

function name(): string {
  if (how === 'ordered') return pad(Number(number) + issued - 1);
  if (how === 'random') return hex() + hex();
  return pad(1 + Math.floor(Math.random() * Number(number)));
}

const started = performance.now();
const instance = autocannon(
  {
    url,
    connections: Number(connections),
    duration: 900,
    requests: [
      {
        setupRequest(request) {
          issued++;
          if (issued === 300) process.stderr.write('started\n');
          if (how === 'path') return { ...request, path: `/users/${name()}/` };
          return { ...request, headers: headers() };
        },
      },
    ],
  },
  print,
);
process.once('SIGINT', () => {
  instance.stop();
});

function print(error: unknown, result: Result): void {
  if (error) throw error as Error;
  const { requests, latency, errors, timeouts, statusCodeStats } = result;
  const answered = statusCodeStats?.['200']?.count ?? 0;
  const line = {
    requests: answered,
    seconds: (performance.now() - started) / 1000,
    issued,
    failures: requests.total - answered + errors + timeouts,
    p50Ms: latency.p50,
    p99Ms: latency.p99,
  };
  process.stdout.write(`${JSON.stringify(line)}\n`);
}
