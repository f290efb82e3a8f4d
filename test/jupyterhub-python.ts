// The Python that JupyterHub runs on, with the example's authenticator.

import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const EXAMPLE = fileURLToPath(new URL('../examples/jupyterhub', import.meta.url));

function interpreter(): string {
  const { stdout } = spawnSync('sh', ['-c', 'command -v jupyterhub'], { encoding: 'utf8' });
  const [first = ''] = readFileSync(stdout.trim(), 'utf8').split('\n');
  return first.replace(/^#!\s*/, '');
}

/** Runs `code`, which may import remote_user, with `input` as JSON on stdin; resolves its output's JSON. */
export function runPython(code: string, input: unknown): unknown {
  const { status, stdout, stderr } = spawnSync(interpreter(), ['-c', code], {
    env: { PATH: process.env.PATH, PYTHONPATH: EXAMPLE, PYTHONDONTWRITEBYTECODE: '1' },
    input: JSON.stringify(input),
    encoding: 'utf8',
  });
  if (status !== 0) throw new Error(stderr);
  return JSON.parse(stdout);
}
