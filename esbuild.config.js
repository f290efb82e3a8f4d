// The command as a few files: `dist/cli.js`, and what it loads in `dist/chunks`. It starts in half the time
// so, and the shell runs it at every Tab. What only the service loads stays in node_modules, with what is
// built for a machine.

import { chmodSync, rmSync } from 'node:fs';
import { build } from 'esbuild';

const SERVICE = [
  'accepts',
  'cookie-parser',
  'express',
  'helmet',
  'lru-cache',
  'pino',
  'prom-client',
];
const DRIVERS = ['better-sqlite3', 'pg', 'pg-copy-streams'];
// Those of knex that are not installed.
const MISSING = [
  'mariadb',
  'mysql',
  'mysql2',
  'oracledb',
  'pg-native',
  'pg-query-stream',
  'sqlite3',
  'tedious',
];

rmSync('dist/chunks', { recursive: true, force: true });
await build({
  entryPoints: ['src/cli.ts'],
  outdir: 'dist',
  chunkNames: 'chunks/[name]-[hash]',
  bundle: true,
  splitting: true,
  format: 'esm',
  platform: 'node',
  target: 'node20',
  sourcemap: true,
  external: [...SERVICE, ...DRIVERS, ...MISSING],
  // For packages that are no ES modules.
  banner: {
    js: "import{createRequire as createRequire_}from'node:module';const require=createRequire_(import.meta.url);",
  },
  logLevel: 'warning',
});
// npx does so when it first sees the command, and not after it was built anew.
chmodSync('dist/cli.js', 0o755);
